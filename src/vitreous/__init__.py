"""From cryo-EM particle images to 3D maps, poses and motions."""

__version__ = "0.1.0"
