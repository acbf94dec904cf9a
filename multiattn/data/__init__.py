"""Records of data sets as people have them, and synthetic ones: files in, lists of paths and labels out.

Nothing here knows Lightning, and reading a folder does not import torch.
"""
