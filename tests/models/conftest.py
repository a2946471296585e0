"""Models with random statistics, and a comparison with their deployed form."""

import copy

import torch
from torch import nn

from dnas_mmseg.models import switch_to_deploy


def trained(model):
    """Randomise statistics and affine parameters, so that folding changes the convolutions."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            module.bias.data.normal_(0, 0.3)
    return model.eval()


def assert_equal(model, image):
    with torch.no_grad():
        expected = model(image)
        got = switch_to_deploy(copy.deepcopy(model))(image)
    assert ((got - expected).abs().max() / expected.abs().max()).item() < 1e-5
    return got
