"""Writes the files of a VASP run as VASP formats them, of what the double calculated; OUTCAR is in
``vasp_outcar``.

``run["layout"]`` is ``vasp6``, ``profile`` (VASP 6 built with profiling), or ``vasp5`` (5.4.4).
"""

import numpy as np

import vasp_densities
from vasp_outcar import outcar


def write(folder, inputs, run):
    (folder / "OUTCAR").write_text(outcar(inputs, run))
    (folder / "OSZICAR").write_text(oszicar(run))
    (folder / "vasprun.xml").write_text(vasprun(inputs, run))
    (folder / "CONTCAR").write_text((folder / "POSCAR").read_text())
    vasp_densities.write(folder, inputs, run)
    if inputs.incar["LWAVE"].strip(".").upper().startswith("T"):
        (folder / "WAVECAR").write_text(f"WAVECAR {inputs.name} {inputs.functional}\n")
    print(" writing wavefunctions", flush=True)


def energies(run, step):
    """Free energy, energy without entropy, energy for zero smearing, at an SCF step (counted from 0)."""
    off = 10.0 * 0.2**step if run["converged"] else 10.0 * 0.99**step
    free = run["energy"] + (0.0 if step == run["steps"] - 1 and run["converged"] else off)
    return free, free + run["entropy"], free + run["entropy"] / 2


def oszicar(run):
    lines = ["       N       E                     dE             d eps       ncg     rms          rms(c)"]
    for step in range(run["steps"]):
        free = energies(run, step)[0]
        lines.append(f"DAV:{step + 1:4d}    {free:18.12E}   {1e-3:12.5E}  {-1e-3:12.5E}  1000   0.100E-01")
    free, _, zero = energies(run, run["steps"] - 1)
    moment = f"  mag= {sum(run['moments']):10.4f}" if run["moments"] is not None else ""
    lines.append(f"   1 F= {free:.8E} E0= {zero:.8E}  d E ={zero - free:.6E}{moment}")
    return "\n".join(lines) + "\n"


def electrons(inputs):
    order = [symbol for i, symbol in enumerate(inputs.symbols) if symbol not in inputs.symbols[:i]]
    valence = dict(zip(order, inputs.valences, strict=True))
    return sum(valence[symbol] for symbol in inputs.symbols)


def bands(inputs):
    return int(electrons(inputs) / 2) + max(len(inputs.symbols) // 2, 3) + 1


def divisions(inputs):
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(inputs.cell), axis=0)
    return [max(1, int(np.ceil(n / float(inputs.incar["KSPACING"])))) for n in lengths]


def tag(key, value, pad="  "):
    """One key of the INCAR as vasprun.xml has it."""
    word = value.strip(".").upper()
    if key == "MAGMOM":
        from vasp_double import moments

        return f'{pad}<v name="{key}">' + "".join(f"{m:16.8f}" for m in moments({key: value})) + "</v>"
    if key in {"LDAUL", "LDAUU", "LDAUJ"}:
        numbers = "".join(f"{float(number):16.8f}" for number in value.split())
        return f'{pad}<v name="{key}">{numbers}</v>'
    if word in {"TRUE", "FALSE", "T", "F"}:
        return f'{pad}<i type="logical" name="{key}"> {word[0]}  </i>'
    if word.lstrip("-").isdigit():
        return f'{pad}<i type="int" name="{key}">{int(word):6d}</i>'
    try:
        return f'{pad}<i name="{key}">{float(value):16.8f}</i>'
    except ValueError:
        return f'{pad}<i type="string" name="{key}">{value}</i>'


def rows(matrix, pad):
    return [f"{pad}<v>" + "".join(f"{value:17.8f}" for value in row) + " </v>" for row in matrix]


def structure(inputs, name, pad=" "):
    about = f' name="{name}"' if name else ""
    return [
        f"{pad}<structure{about} >",
        f"{pad} <crystal>",
        f'{pad}  <varray name="basis" >',
        *rows(inputs.cell, pad + "   "),
        f"{pad}  </varray>",
        f'{pad}  <i name="volume">{abs(np.linalg.det(inputs.cell)):17.8f} </i>',
        f'{pad}  <varray name="rec_basis" >',
        *rows(np.linalg.inv(inputs.cell).T, pad + "   "),
        f"{pad}  </varray>",
        f"{pad} </crystal>",
        f'{pad} <varray name="positions" >',
        *rows(inputs.fractional % 1.0, pad + "  "),
        f"{pad} </varray>",
        f"{pad}</structure>",
    ]


TERMS = ("alphaZ", "ewald", "hartreedc", "XCdc", "pawpsdc", "pawaedc", "eentropy", "bandstr", "atom")


def energy_block(values, pad, terms=()):
    """Energies; the first and the last SCF step have every term of theirs."""
    names = (*terms, "e_fr_energy", "e_wo_entrp", "e_0_energy")
    values = (*(1.0 for _ in terms), *values)
    return [
        f"{pad}<energy>",
        *(f'{pad} <i name="{name}">{value:17.8f} </i>' for name, value in zip(names, values, strict=True)),
        f"{pad}</energy>",
    ]


def final_energies(run):
    """Of the last block. VASP 5 has the energy for zero smearing under another name, and the entropy under
    its own."""
    free, without, zero = energies(run, run["steps"] - 1)
    return (free, zero, free - without) if run["layout"] == "vasp5" else (free, without, zero)


def eigenvalues(inputs, run):
    filled, spins = int(electrons(inputs) / 2), 2 if inputs.incar["ISPIN"] == "2" else 1
    lines = ["  <eigenvalues>", "   <array>", "    <set>"]
    for spin in range(spins):
        lines += [f'     <set comment="spin {spin + 1}">', '      <set comment="kpoint 1">']
        for band in range(bands(inputs)):
            value = -0.5 * (filled - 1 - band) if band < filled else run["gap"] + 0.5 * (band - filled)
            lines.append(f"       <r> {value:10.4f} {1.0 if band < filled else 0.0:9.4f} </r>")
        lines += ["      </set>"]
        if not run["gap"]:  # another k-point with a band less below the Fermi level: a metal
            lines += ['      <set comment="kpoint 2">']
            for band in range(bands(inputs)):
                lines.append(f"       <r> {0.5 * band:10.4f} {1.0 if band < filled - 1 else 0.0:9.4f} </r>")
            lines += ["      </set>"]
        lines += ["     </set>"]
    return [*lines, "    </set>", "   </array>", "  </eigenvalues>"]


def vasprun(inputs, run):
    mesh = divisions(inputs)
    counts = {symbol: inputs.symbols.count(symbol) for symbol in dict.fromkeys(inputs.symbols)}
    lines = [
        '<?xml version="1.0" encoding="ISO-8859-1"?>',
        "<modeling>",
        " <generator>",
        '  <i name="program" type="string">vasp </i>',
        f'  <i name="version" type="string">{run["version"]}  </i>',
        '  <i name="subversion" type="string">19Mar24 (double) complex parallel </i>',
        " </generator>",
        " <incar>",
        *(tag(key, value) for key, value in inputs.incar.items()),
        " </incar>",
        " <kpoints>",
        '  <generation param="Gamma">',
        '   <v type="int" name="divisions">' + "".join(f"{n:9d}" for n in mesh) + " </v>",
        '   <v name="usershift">      0.00000000       0.00000000       0.00000000 </v>',
        *(
            f'   <v name="genvec{i + 1}">' + "".join(f"{x:17.8f}" for x in np.eye(3)[i] / mesh[i]) + " </v>"
            for i in range(3)
        ),
        '   <v name="shift">      0.00000000       0.00000000       0.00000000 </v>',
        "  </generation>",
        '  <varray name="kpointlist" >',
        *rows(np.zeros((1, 3)), "   "),
        "  </varray>",
        '  <varray name="weights" >',
        *rows(np.ones((1, 1)), "   "),
        "  </varray>",
        " </kpoints>",
        " <parameters>",
        '  <separator name="electronic" >',
        *(
            tag(key, inputs.incar[key], "   ")
            for key in ("PREC", "EDIFF", "ISMEAR", "SIGMA", "KSPACING", "ISPIN", "NELM")
        ),
        f'   <i name="NELECT">{electrons(inputs):16.8f}</i>',
        f'   <i name="ENMAX">{float(inputs.incar["ENCUT"]):16.8f}</i>',
        "  </separator>",
        '  <separator name="ionic" >',
        '   <i type="int" name="NSW">     0</i>',
        '   <i type="int" name="IBRION">    -1</i>',
        "  </separator>",
        '  <separator name="response functions" >',
        *(['   <i type="int" name="KINTER">******</i>'] if run["layout"] == "vasp5" else []),
        '   <i type="int" name="NELM">     1</i>',
        "  </separator>",
        " </parameters>",
        " <atominfo>",
        f"  <atoms> {len(inputs.symbols):7d} </atoms>",
        f"  <types> {len(counts):7d} </types>",
        '  <array name="atoms" >',
        '   <dimension dim="1">ion</dimension>',
        '   <field type="string">element</field>',
        '   <field type="int">atomtype</field>',
        "   <set>",
        *(
            f"    <rc><c>{symbol:2s}</c><c>{list(counts).index(symbol) + 1:4d}</c></rc>"
            for symbol in inputs.symbols
        ),
        "   </set>",
        "  </array>",
        '  <array name="atomtypes" >',
        '   <dimension dim="1">type</dimension>',
        '   <field type="int">atomspertype</field>',
        '   <field type="string">element</field>',
        "   <field>mass</field>",
        "   <field>valence</field>",
        '   <field type="string">pseudopotential</field>',
        "   <set>",
        *(
            f"    <rc><c>{counts[symbol]:4d}</c><c>{symbol:2s}</c><c>      "
            f"1.00000000</c><c>{valence:16.8f}</c><c> {title:40s}</c></rc>"
            for symbol, valence, title in zip(counts, inputs.valences, inputs.titles, strict=True)
        ),
        "   </set>",
        "  </array>",
        " </atominfo>",
        *structure(inputs, "initialpos"),
        " <calculation>",
    ]
    for step in range(run["steps"]):
        lines += ["  <scstep>", '   <time name="total">    0.10    0.10</time>']
        terms = TERMS if step in {0, run["steps"] - 1} else ()
        lines += [*energy_block(energies(run, step), "   ", terms), "  </scstep>"]
    lines += [
        *structure(inputs, "", "  "),
        '  <varray name="forces" >',
        *rows(run["forces"], "   "),
        "  </varray>",
        '  <varray name="stress" >',
        *rows(run["stress_kbar"], "   "),
        "  </varray>",
        *energy_block(final_energies(run), "  "),
        *eigenvalues(inputs, run),
        "  <dos>",
        '   <i name="efermi">      0.25000000 </i>',
        "  </dos>",
        "  <projected>",
        "   <array><set><r>  0.0000  0.0338 </r></set></array>",
        "  </projected>",
        " </calculation>",
        *structure(inputs, "finalpos"),
        "</modeling>",
    ]
    return "\n".join(lines) + "\n"
