"""Network access of rasters that refer to URLs."""

import functools
import http.server
import subprocess
import sys
import threading

import numpy as np
import pytest

from dnas_mmseg.raster import write_raster

READ = """
import sys
from dnas_mmseg.raster import RasterError, forbid_network, read_raster
if 'forbid' in sys.argv[2:]:
    forbid_network()
try:
    print(read_raster(sys.argv[1]).sum())
except RasterError:
    print('refused')
"""


@pytest.fixture
def server(tmp_path):
    """Port of an HTTP server on loopback, and the requests it received."""
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            requests.append(self.path)

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], requests
        server.shutdown()


@pytest.mark.parametrize('forbidden', [False, True])
def test_vrt_reads_url_unless_network_is_forbidden(server, tmp_path, forbidden):
    port, requests = server
    write_raster(tmp_path / 'far.tif', np.ones((1, 8, 8), np.uint8))
    near = tmp_path / 'near.tif'  # a VRT despite its suffix
    near.write_text(
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename>/vsicurl/http://127.0.0.1:{port}/far.tif</SourceFilename>'
        '<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>'
    )
    finished = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', READ, near, *['forbid'] * forbidden],
        capture_output=True, text=True,
    )  # fmt: skip
    assert finished.stdout.split() == (['refused'] if forbidden else ['64']), finished.stderr
    assert bool(requests) is not forbidden
