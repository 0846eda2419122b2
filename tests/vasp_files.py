"""Writes the files of a VASP run as VASP 6 formats them, of what the double calculated."""

import numpy as np


def write(folder, inputs, run):
    (folder / "OUTCAR").write_text(outcar(inputs, run))
    (folder / "OSZICAR").write_text(oszicar(run))
    (folder / "vasprun.xml").write_text(vasprun(inputs, run))
    (folder / "CONTCAR").write_text((folder / "POSCAR").read_text())
    (folder / "CHGCAR").write_text("charge density of the double\n")
    for name in ("AECCAR0", "AECCAR2"):
        (folder / name).write_text("core and valence density of the double\n")
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


def outcar(inputs, run):
    steps, last = run["steps"], energies(run, run["steps"] - 1)
    lines = [
        f" vasp.{run['version']} 19Mar24 (double) complex",
        " executed on             LinuxDouble date 2026.11.24  12:00:00",
        "",
        " INCAR:",
        *(f"   {key} = {value}" for key, value in inputs.incar.items()),
        "",
        *(f" POTCAR:    {title}" for title in inputs.titles),
        f"   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    NBANDS= {bands(inputs):6d}",
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(inputs.symbols):6d}",
        f"   NELECT = {electrons(inputs):13.4f}    total number of electrons",
        "",
    ]
    for step in range(steps):
        free, without, zero = energies(run, step)
        lines += [
            f"--------------------------------------- Iteration      1({step + 1:4d})  ---------------------------------------",
            f"  entropy T*S    EENTRO = {-run['entropy']:18.8f}",
            f"  free energy    TOTEN  = {free:18.8f} eV",
            "",
            f"  energy without entropy = {without:17.8f}  energy(sigma->0) = {zero:17.8f}",
            "",
        ]
    lines += [
        "------------------------ aborting loop because EDIFF is reached ----------------------------------------"
        if run["converged"]
        else "------------------------ aborting loop EDIFF was not reached (unconverged)  ----------------------------------------",
        "",
        " E-fermi :   5.0000     XC(G=0):  -9.0000     alpha+bet :-11.0000",
        "",
    ]
    if run["moments"] is not None:
        lines += [" magnetization (x)", " ", "# of ion       s       p       d       tot"]
        lines += ["------------------------------------------"]
        lines += [f"{i + 1:5d}        0.000   0.000{m:8.3f}{m:8.3f}" for i, m in enumerate(run["moments"])]
        total = sum(run["moments"])
        lines += [
            "--------------------------------------------------",
            f"tot          0.000   0.000{total:8.3f}{total:8.3f}",
            "",
        ]
    s = run["stress_kbar"]
    voigt = (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0])
    lines += [
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
        "  Direction    XX          YY          ZZ          XY          YZ          ZX",
        "  in kB  " + "".join(f"{value:12.5f}" for value in voigt),
        f"  external pressure = {np.trace(s) / 3:11.2f} kB  Pullay stress =        0.00 kB",
        "",
        " POSITION                                       TOTAL-FORCE (eV/Angst)",
        " -----------------------------------------------------------------------------------",
        *(
            "".join(f"{x:13.5f}" for x in position) + "    " + "".join(f"{f:14.6f}" for f in force)
            for position, force in zip(inputs.positions, run["forces"], strict=True)
        ),
        " -----------------------------------------------------------------------------------",
        "    total drift:                                0.000000      0.000000      0.000000",
        "",
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
        "  ---------------------------------------------------",
        f"  free  energy   TOTEN  = {last[0]:18.8f} eV",
        "",
        f"  energy  without entropy= {last[1]:17.8f}  energy(sigma->0) = {last[2]:17.8f}",
        " ",
        "",
        " General timing and accounting informations for this job:",
        " ========================================================",
        "  ",
        "                  Total CPU time used (sec):        1.000",
        "                         Elapsed time (sec):        1.000",
        "                   Maximum memory used (kb):      100000.",
        "",
    ]
    return "\n".join(lines)


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


def energy_block(values, pad):
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    return [
        f"{pad}<energy>",
        *(f'{pad} <i name="{name}">{value:17.8f} </i>' for name, value in zip(names, values, strict=True)),
        f"{pad}</energy>",
    ]


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
            f"    <rc><c>{counts[symbol]:4d}</c><c>{symbol:2s}</c><c>      1.00000000</c><c>{valence:16.8f}</c><c> {title:40s}</c></rc>"
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
        lines += [*energy_block(energies(run, step), "   "), "  </scstep>"]
    lines += [
        *structure(inputs, "", "  "),
        '  <varray name="forces" >',
        *rows(run["forces"], "   "),
        "  </varray>",
        '  <varray name="stress" >',
        *rows(run["stress_kbar"], "   "),
        "  </varray>",
        *energy_block(energies(run, run["steps"] - 1), "  "),
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
