"""Auto-DeepLab (Liu et al., CVPR 2019): a path through the strides and one cell for all layers."""
