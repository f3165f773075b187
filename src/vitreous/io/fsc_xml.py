"""FSC curves in the XML that EMDB takes with a deposition."""

from xml.etree import ElementTree

from vitreous.data import ResolutionCurves
from vitreous.io.atomic import atomic_path
from vitreous.typing import PathLike


def write_fsc_xml(path: PathLike, curves: ResolutionCurves, title: str | None = None) -> None:
    """Write the curve that the resolution is read from, corrected where there is one, else unmasked.

    The format is EMDB's (``emdb_fsc.xsd``): one coordinate per shell, x in 1/Å and y the correlation.
    """
    if title is None:
        title = "FSC of half-maps, " + ("unmasked" if curves.corrected is None else "masked and corrected")
    root = ElementTree.Element("fsc", title=title, xaxis="Resolution (A-1)", yaxis="Correlation Coefficient")
    for frequency, correlation in zip(curves.frequency_per_A.tolist(), curves.final.tolist()):
        coordinate = ElementTree.SubElement(root, "coordinate")
        ElementTree.SubElement(coordinate, "x").text = f"{frequency:.6f}"
        ElementTree.SubElement(coordinate, "y").text = f"{correlation:.6f}"
    tree = ElementTree.ElementTree(root)
    ElementTree.indent(tree)
    with atomic_path(path) as temporary:
        tree.write(temporary, encoding="UTF-8", xml_declaration=True)
