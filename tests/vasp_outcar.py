"""Writes the OUTCAR of the double: VASP 6 with and without a profile, VASP 5; one ion and many; with and
without spin."""

import re

import numpy as np

RULE = "-" * 104
# What follows the timings where VASP was built with profiling: some ten kB, in three tables.
ROUTINES = [f"routine_{i:03d}" for i in range(200)]


def outcar(inputs, run):
    parts = [head(inputs, run), *(scf_step(run, step) for step in range(run["steps"]))]
    parts += [aborting(run), fermi(), charges(inputs, run), stress(run), forces(inputs, run), final(run)]
    parts += [charges(inputs, run), memory(), timing(run)]
    if run["layout"] == "profile":
        parts.append(profile())
    return "\n".join(line for part in parts for line in part) + "\n"


def head(inputs, run):
    from vasp_files import bands, electrons

    spin = inputs.incar["ISPIN"]
    return [
        f" vasp.{run['version']} 19Mar24 (build Nov 24 2026 12:00:00) complex",
        "  ",
        " executed on             LinuxDouble date 2026.11.24  12:00:00",
        " running    1 mpi-ranks, on    1 nodes",
        "",
        " INCAR:",
        *(f"   {key} = {value}" for key, value in inputs.incar.items()),
        "",
        *(f" POTCAR:    {title}" for title in inputs.titles),
        (
            "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of bands    "
            f"NBANDS= {bands(inputs):6d}"
        ),
        f"   number of dos      NEDOS =    301   number of ions     NIONS = {len(inputs.symbols):6d}",
        "   total plane-waves  NPLWV = ******",
        f"   ISPIN  = {spin:>6s}    spin polarized calculation?",
        f"   LNONCOLLINEAR = {'T' if run.get('noncollinear') else 'F':>6s} non collinear calculations",
        f"   NELM   = {inputs.incar['NELM']:>6s};   NELMIN=  2; NELMDL= -5     # of ELM steps ",
        "   estimated Nose-frequenzy (Omega)   =  0.10E-29 period in steps =****** mass=  -0.205E-26a.u.",
        f"   NELECT = {electrons(inputs):13.4f}    total number of electrons",
        "",
    ]


def scf_step(run, step):
    from vasp_files import energies

    free, without, zero = energies(run, step)
    return [
        (
            f"--------------------------------------- Iteration      1({step + 1:4d})  "
            "---------------------------------------"
        ),
        "",
        "",
        "    POTLOK:  cpu time    0.0263: real time    0.0345",
        " BZINTS: Fermi energy:    4.088573;   18.000000 electrons",
        "         Band energy***********;  BLOECHL correction:    0.000000",
        "",
        f" number of electron      17.9999987 magnetization {sum(run['moments'] or [0.0]):15.7f}",
        "",
        " Free energy of the ion-electron system (eV)",
        "  ---------------------------------------------------",
        "  PAW double counting   = 101636912.02233356******************",
        f"  entropy T*S    EENTRO = {-run['entropy']:18.8f}",
        "  ---------------------------------------------------",
        f"  free energy    TOTEN  = {free:18.8f} eV",
        "",
        f"  energy without entropy = {without:17.8f}  energy(sigma->0) = {zero:17.8f}",
        "",
        "",
        RULE,
        "",
    ]


def aborting(run):
    # VASP 5 says so whether EDIFF was reached, or the last of the steps that it may take
    reached = run["converged"] or run["layout"] == "vasp5"
    said = "because EDIFF is reached" if reached else "EDIFF was not reached (unconverged)"
    return [f"{'-' * 24} aborting loop {said} {'-' * 40}", "", ""]


def fermi():
    return [" E-fermi :   5.0000     XC(G=0):  -9.0000     alpha+bet :-11.0000", ""]


def charges(inputs, run):
    """Charges and moments of the ions: VASP prints them before the forces, and again at its end."""
    if inputs.incar.get("LORBIT", "0") == "0":
        return []
    lines = table("total charge", [4.0 + 0.1 * i for i in range(len(inputs.symbols))], run)
    if run["moments"] is None:
        return lines
    if run.get("noncollinear"):
        zero = [0.0] * len(inputs.symbols)
        moments = {"x": zero, "y": zero, "z": run["moments"]}
    else:
        moments = {"x": run["moments"]}
    return lines + [line for axis in moments for line in table(f"magnetization ({axis})", moments[axis], run)]


def table(title, totals, run):
    """A table of the ions. A single one has no sum, and so no second rule."""
    old = run["layout"] == "vasp5"
    blank = " " if old else ""
    index, rule = (3, 40) if old else (5, 42)
    gap = " " * (5 if old else 7)
    lines = ["", "", "", f" {title}{'     ' if old and title == 'total charge' else ''}", blank]
    lines += [f"# of ion{gap}s       p       d       tot", "-" * rule]
    lines += [
        f"{i + 1:{index}d}     {0.001:8.3f}{-0.001:8.3f}{total:8.3f}{total:8.3f}"
        for i, total in enumerate(totals)
    ]
    if len(totals) > 1:
        total = sum(totals)
        lines += ["-" * (rule + 8), f"tot       {0.001:8.3f}{-0.001:8.3f}{total:8.3f}{total:8.3f}"]
    return [*lines, blank]


def stress(run):
    s = run["stress_kbar"]
    voigt = (s[0, 0], s[1, 1], s[2, 2], s[0, 1], s[1, 2], s[2, 0])
    return [
        "    CHARGE:  cpu time    0.0074: real time    0.0074",
        "",
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
        "  Direction    XX          YY          ZZ          XY          YZ          ZX",
        "  --------------------------------------------------------------------------------------",
        "  Ewald  ************ 90723.67590 90824.76900     4.08100     2.60457    -5.26008",
        "  -------------------------------------------------------------------------------------",
        "  Total       0.87072     0.87072     0.87072     0.00000     0.00000    -0.00000",
        "  in kB  " + "".join(f"{value:12.5f}" for value in voigt),
        f"  external pressure = {np.trace(s) / 3:11.2f} kB  Pullay stress =        0.00 kB",
        "",
        "",
    ]


def forces(inputs, run):
    return [
        " POSITION                                       TOTAL-FORCE (eV/Angst)",
        " -----------------------------------------------------------------------------------",
        *(
            "".join(f"{x:13.5f}" for x in position) + "    " + "".join(f"{f:14.6f}" for f in force)
            for position, force in zip(inputs.positions, run["forces"], strict=True)
        ),
        " -----------------------------------------------------------------------------------",
        "    total drift:                                0.000000      0.000000      0.000000",
        "",
        "",
        RULE,
        "",
        "",
        "",
    ]


def final(run):
    from vasp_files import energies

    free, without, zero = energies(run, run["steps"] - 1)
    return [
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
        "  ---------------------------------------------------",
        f"  free  energy   TOTEN  = {free:18.8f} eV",
        "",
        f"  energy  without entropy={without:17.8f}  energy(sigma->0) ={zero:17.8f}",
        " ",
        "",
        "",
        RULE,
        "",
        "     LOOP+:  cpu time   14.2013: real time   14.3475",
        "    4ORBIT:  cpu time    0.0000: real time    0.0000",
    ]


def with_vdw(text, vdw):
    """An OUTCAR of a build that writes the final energies and forces without van der Waals, too, which are
    higher by ``vdw`` eV."""

    def energies(found):
        value = float(found[2])
        return f"{found[1]}{found[2]} eV    w/o vdW ={value + vdw:20.8f}{found[3]}"

    last = text.index("FREE ENERGIE OF THE ION-ELECTRON SYSTEM")
    head, block = text[:last], text[last:]
    block = re.sub(r"(free  energy   TOTEN  = *)(\S+)( eV)", energies, block, count=1)
    block = re.sub(r"(energy  without entropy= *)(\S+)()", energies, block, count=1)
    block = re.sub(r"(energy\(sigma->0\) = *)(\S+)()", energies, block, count=1)
    title = head.index("TOTAL-FORCE (eV/Angst)")
    lines = head[title:].split("\n")
    lines[0] += "," + " " * 35 + "FORCE-w/o vdW (eV/Angst)"
    end = next(i for i, line in enumerate(lines[2:], 2) if line.startswith(" ---"))
    # VASP has no number for some of them
    lines[2:end] = [f"{line}          0.100000           NaN     -0.302265" for line in lines[2:end]]
    return head[:title] + "\n".join(lines) + block


def as_vasp_4(text, stress=None):
    """An OUTCAR with the fewer decimals of VASP 4: 6 of energies, 2 of stress; or with another row of
    stress."""
    text = re.sub(r"-?\d+\.\d{8}\b", lambda found: f"{float(found[0]):.6f}", text)
    numbers = re.compile(r"  in kB  (.*)")

    def row(found):
        values = [float(found[1][i : i + 12]) for i in range(0, 72, 12)]
        return "  in kB  " + "".join(f"{value:10.2f}" for value in values)

    return numbers.sub(row if stress is None else stress, text)


def memory():
    return [
        "",
        " total amount of memory used by VASP MPI-rank0    30982. kBytes",
        "=======================================================================",
        "",
        "   base      :      30000. kBytes",
        "   wavefun   :         90. kBytes",
        " ",
    ]


def timing(run):
    average = "          0." if run["layout"] == "vasp5" else "         N/A"
    return [
        "  ",
        "  ",
        " General timing and accounting informations for this job:",
        " ========================================================",
        "  ",
        "                  Total CPU time used (sec):        1.000",
        "                            User time (sec):        0.900",
        "                          System time (sec):        0.100",
        "                         Elapsed time (sec):        1.000",
        "  ",
        "                   Maximum memory used (kb):      100000.",
        f"                   Average memory used (kb): {average}",
        "  ",
        "                          Minor page faults:        36801",
        "                          Major page faults:            0",
        "                 Voluntary context switches:         2239",
    ]


def profile():
    lines = [
        " ",
        f" PROFILE, used timers: {len(ROUTINES):7d}",
        " =============================",
        " ",
        " index                 routine                    time                            calls level",
        "-" * 94,
    ]
    lines += [
        f"{i + 1:5d}      {name:32s} {0.001 * i:20.6f} {i:32d} {1 + i % 5:3d}"
        for i, name in enumerate(ROUTINES)
    ]
    for title in ("Flat profile", "Accumulative profile"):
        lines += [" ", f" {title}", " ===================", " "]
        lines += [f" {name:32s} {0.001 * i:14.6f} {i:11d}" for i, name in enumerate(ROUTINES)]
    lines += [" ---------------------------------------------------------------", " "]
    return [
        *lines,
        "Profiling took   0.155185  0.049254  0.005002  0.004944 seconds",
        "Profiling took   0.104576 seconds",
    ]
