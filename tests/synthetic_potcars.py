"""Synthetic POTCARs, which pymatgen reads and does not know: ``python tests/synthetic_potcars.py FOLDER Mg O
Fe ...``.

``export PMG_VASP_PSP_DIR=FOLDER`` uses them. Their headers have what a header has; their data are no
potential.
"""

import sys
from pathlib import Path

# Valence electrons by group of the symbol's ending, as VASP's have about.
VALENCE = {
    "H": 1,
    "Li": 3,
    "B": 3,
    "C": 4,
    "N": 5,
    "O": 6,
    "F": 7,
    "Na": 7,
    "Mg": 8,
    "Al": 3,
    "Si": 4,
    "Cl": 7,
    "Fe": 14,
}


def published_title(symbol):
    """The title of VASP's own POTCAR of a symbol, as pymatgen knows it: ``PAW_PBE Fe_pv 02Aug2007``."""
    from pymatgen.io.vasp.inputs import _load_potcar_summary_stats

    known = _load_potcar_summary_stats()["PBE_64"]
    squeezed = next(title for title, files in known.items() if any(f["symbol"] == symbol for f in files))
    return f"PAW_PBE {symbol} {squeezed.removeprefix(f'PAW_PBE{symbol}')}"


def potcar(symbol, title=None):
    """The text of a synthetic POTCAR, e.g. of ``Fe_pv``."""
    element = symbol.split("_")[0]
    valence = VALENCE.get(element, 8)
    title = title or f"PAW_PBE {symbol} 24Nov2026"
    return f"""  {title}
  {valence:.12f}
 parameters from PSCTR are:
   VRHFIN ={element}: synthetic
   LEXCH  = PE
   EATOM  =   100.0000 eV,    7.3500 Ry

   TITEL  = {title}
   LULTRA =        F    use ultrasoft PP ?
   IUNSCR =        1    unscreen: 0-lin 1-nonlin 2-no
   RPACOR =    1.200    partial core radius
   POMASS =   10.000; ZVAL   = {valence:8.3f}    mass and valenz
   RCORE  =    1.500    outmost cutoff radius
   RWIGS  =    1.500; RWIGS  =    0.800    wigner-seitz radius (au A)
   ENMAX  =  400.000; ENMIN  =  300.000 eV
   LCOR   =        T    correct aug charges
   LPAW   =        T    paw PP
   EAUG   =  600.000
   RMAX   =    1.600    core radius for proj-oper
   RAUG   =    1.300    factor for augmentation sphere

END of PSCTR-controll parameters
 local part
   98.7    0.10000000E+01   0.20000000E+01   {len(symbol) + valence:.8E}
 End of Dataset
"""


def make(folder, elements, *, published_titles=False):
    """Write POTCARs of the symbols that MatPESStaticSet takes for ``elements`` below ``folder``; return it.

    With ``published_titles`` they are called as VASP's own are, which is all that outputs tell of them.
    """
    from pymatgen.io.vasp.sets import MatPESStaticSet

    top = Path(folder) / "POT_PAW_PBE_64"
    for element in elements:
        symbol = MatPESStaticSet.CONFIG["POTCAR"][element]
        (top / symbol).mkdir(parents=True, exist_ok=True)
        title = published_title(symbol) if published_titles else None
        (top / symbol / "POTCAR").write_text(potcar(symbol, title))
    return Path(folder)


if __name__ == "__main__":
    print(make(sys.argv[1], sys.argv[2:]))
