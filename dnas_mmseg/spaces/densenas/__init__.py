"""DenseNAS (Fang et al., CVPR 2020): a sequence of blocks with searched widths and depths."""
