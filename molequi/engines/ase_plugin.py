"""What ASE's experimental plugins read: `ase info --plugins` lists the calculator.

ASE 3.29 loads the modules behind the entry points `ase.plugins` and takes `__ase_plugins__` of
each. Its older register, by which `ase run` finds calculators, has no entry point.
"""

from __future__ import annotations

from ase._4.plugins.plugin import CalculatorPlugin

__ase_plugins__ = {
    CalculatorPlugin(
        "molequi",
        citation="molequi",
        implementation="molequi.simulation.calculator.Calculator",
    )
}
