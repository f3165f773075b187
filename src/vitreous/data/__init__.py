"""The data that flows between the parts: frozen dataclasses without file formats."""

from vitreous.data.journal import Journal, SilentJournal
from vitreous.data.latents import Latents
from vitreous.data.optics import Optics
from vitreous.data.particles import ArraySource, ImageSource, MetadataTable, Particles, SubsetSource
from vitreous.data.poses import Poses
from vitreous.data.result import ConicalCurves, LatentVolume, ResolutionCurves, Result
from vitreous.data.volume import Volume

__all__ = [
    "ArraySource",
    "ConicalCurves",
    "ImageSource",
    "Journal",
    "LatentVolume",
    "Latents",
    "MetadataTable",
    "Optics",
    "Particles",
    "Poses",
    "ResolutionCurves",
    "Result",
    "SilentJournal",
    "SubsetSource",
    "Volume",
]
