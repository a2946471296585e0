"""DenseNAS (Fang et al., CVPR 2020): blocks of searched widths and depths in a row."""
