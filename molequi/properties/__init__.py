"""The vocabulary of targets: what a property is, which there are, and how users declare theirs."""

from molequi.properties.declarations import declare, from_dict, to_dict
from molequi.properties.property import Periodicity, Property, PropertyError, part_names
from molequi.properties.table import DEBYE, PROPERTIES, get_property, with_company

__all__ = [
    "DEBYE",
    "PROPERTIES",
    "Periodicity",
    "Property",
    "PropertyError",
    "declare",
    "from_dict",
    "get_property",
    "part_names",
    "to_dict",
    "with_company",
]
