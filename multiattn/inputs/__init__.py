"""Files and arrays to tensors, and the way back to the source's own coordinates. Knows no model."""

from .image import ImageSource, find_images, load_image
from .preprocess import Geometry, ImagePreprocessing

__all__ = ["Geometry", "ImagePreprocessing", "ImageSource", "find_images", "load_image"]
