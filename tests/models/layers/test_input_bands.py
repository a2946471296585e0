import pytest
import torch
from torch import nn

from dnas_mmseg.errors import UserError
from dnas_mmseg.models.layers.input_bands import require_bands


def test_a_wrong_number_of_bands_raises_an_error():
    network = nn.Conv2d(4, 2, 1)
    require_bands(network, torch.zeros(1, 4, 3, 3))
    message = r'the image has 3 bands, but Conv2d has in_channels=4: select bands'
    with pytest.raises(UserError, match=message):
        require_bands(network, torch.zeros(1, 3, 4, 4))
