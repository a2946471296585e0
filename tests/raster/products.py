"""Small products of satellites with the names and metadata of real ones."""

from pathlib import Path

import numpy as np
from osgeo import gdal, osr

from dnas_mmseg.raster import GeoReference, write_raster

SAFE_L2A = 'S2B_MSIL2A_20230615T103629_N0509_R008_T32TQM_20230615T134321.SAFE'
SAFE_L1C = 'S2B_MSIL1C_20230615T103629_N0509_R008_T32TQM_20230615T123456.SAFE'
LANDSAT_L2 = 'LC08_L2SP_192028_20230615_20230622_02_T1'
LANDSAT_L1 = 'LC09_L1TP_192028_20230615_20230622_02_T1'
PLANET = '20230615_103629_12_2461'

_CORNER = 699960.0, 5000040.0
_ORDER = ('B1', 'B2', 'B3', 'B4', 'B5', 'B6', 'B7', 'B8', 'B8A', 'B9', 'B10', 'B11', 'B12')


def place(pixel, corner=_CORNER, epsg=32632):
    """Georeference of square pixels, in metres."""
    crs = osr.SpatialReference()
    crs.ImportFromEPSG(epsg)
    return GeoReference(crs.ExportToWkt(), 0.0, (corner[0], pixel, 0.0, corner[1], 0.0, -pixel))


def write_jp2(path, samples, pixel, **kwargs):
    """Write a lossless JPEG 2000 file; a TIFF of this name where GDAL cannot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    driver = gdal.GetDriverByName('JP2OpenJPEG')
    plain = path.with_suffix('.tif')
    write_raster(plain, samples, georeference=place(pixel, **kwargs))
    if driver is None:
        plain.rename(path)
        return
    driver.CreateCopy(str(path), gdal.Open(str(plain)), options=['QUALITY=100', 'REVERSIBLE=YES'])
    plain.unlink()
    Path(f'{path}.aux.xml').unlink(missing_ok=True)


def write_safe(folder, images, level='L2A', offsets=True, scl=None, quantification='10000'):
    """Write a SAFE folder below ``folder``.

    Args:
        images: Samples by band and resolution, such as ``('B04', 10)``.
        scl: Samples of SCL at 20 m.
        offsets: Whether the metadata have offsets; that of B8A differs.
    """
    safe = folder / (SAFE_L2A if level == 'L2A' else SAFE_L1C)
    granule = safe / f'GRANULE/{level}_T32TQM_A032769_20230615T103852/IMG_DATA'
    stem = 'T32TQM_20230615T103629'
    for (band, metres), samples in images.items():
        name = f'R{metres}m/{stem}_{band}_{metres}m.jp2' if level == 'L2A' else f'{stem}_{band}.jp2'
        write_jp2(granule / name, samples, float(metres))
    if scl is not None:
        write_jp2(granule / f'R20m/{stem}_SCL_20m.jp2', scl, 20.0)
    tag = 'BOA' if level == 'L2A' else 'RADIO'
    values = ''.join(
        f'<{tag}_ADD_OFFSET band_id="{i}">{-1100 if name == "B8A" else -1000}</{tag}_ADD_OFFSET>'
        for i, name in enumerate(_ORDER)
    )
    bands = ''.join(
        f'<Spectral_Information bandId="{i}" physicalBand="{name}"/>'
        for i, name in enumerate(_ORDER)
    )
    prefix = 'BOA_' if level == 'L2A' else ''
    (safe / f'MTD_MSI{level}.xml').write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<n1:Level-{level[1:]}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD">'
        '<n1:General_Info><Product_Info>'
        '<PRODUCT_START_TIME>2023-06-15T10:36:29.024Z</PRODUCT_START_TIME></Product_Info>'
        f'<Product_Image_Characteristics>'
        f'<{prefix}QUANTIFICATION_VALUE unit="none">{quantification}</{prefix}QUANTIFICATION_VALUE>'
        f'<{tag}_LIST>{values if offsets else ""}</{tag}_LIST>'
        f'<Spectral_Information_List>{bands}</Spectral_Information_List>'
        f'</Product_Image_Characteristics></n1:General_Info></n1:Level-{level[1:]}_User_Product>'
    )
    return safe


MTL_L2 = """GROUP = LANDSAT_METADATA_FILE
  GROUP = IMAGE_ATTRIBUTES
    DATE_ACQUIRED = 2023-06-15
    SCENE_CENTER_TIME = "10:03:27.1234560Z"
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_4 = 3e-05
    REFLECTANCE_ADD_BAND_4 = -0.25
    REFLECTANCE_MULT_BAND_5 = 2.75e-05
    REFLECTANCE_ADD_BAND_5 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
    TEMPERATURE_MULT_BAND_ST_B10 = 0.00341802
    TEMPERATURE_ADD_BAND_ST_B10 = 149.0
  END_GROUP = LEVEL2_SURFACE_TEMPERATURE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_4 = 2.0000E-05
    REFLECTANCE_ADD_BAND_4 = -0.100000
    REFLECTANCE_MULT_BAND_8 = 2.0000E-05
    REFLECTANCE_ADD_BAND_8 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""


def write_landsat(folder, images, product=LANDSAT_L2, mtl=MTL_L2):
    """Write a Landsat product: samples by suffix, such as ``SR_B4``; B8 has 15 m."""
    for suffix, samples in images.items():
        # The centres of the upper left pixels coincide, so their corners differ.
        corner = (_CORNER[0] + 7.5, _CORNER[1] - 7.5) if suffix == 'B8' else _CORNER
        where = place(15.0 if suffix == 'B8' else 30.0, corner)
        write_raster(folder / f'{product}_{suffix}.TIF', samples, georeference=where)
    if mtl:
        (folder / f'{product}_MTL.txt').write_text(mtl)
    return folder


def write_planet(folder, samples, suffix='3B_AnalyticMS_SR_8b_clip', udm2=None, names=()):
    """Write a PlanetScope image with 3 m pixels, and its UDM2."""
    where = place(3.0)
    path = folder / f'{PLANET}_{suffix}.tif'
    write_raster(path, samples, georeference=where, names=names)
    if udm2 is not None:
        write_raster(folder / f'{PLANET}_3B_udm2_clip.tif', udm2, georeference=where)
    return folder


def uint16(rng, *shape, low=1, high=10000):
    return rng.integers(low, high, shape).astype(np.uint16)


def doubled(samples, times=2):
    """Repeat the pixels of (height, width) as nearest-neighbour resampling does."""
    return samples.repeat(times, 0).repeat(times, 1)
