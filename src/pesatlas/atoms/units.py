"""Conversion factors, decided once (2018 CODATA, as ASE and pymatgen use)."""

EV_PER_A3_TO_GPA = 160.21766208
"""1 eV/Å³ in GPa."""

KBAR_TO_EV_PER_A3 = 0.1 / EV_PER_A3_TO_GPA
"""1 kbar in eV/Å³; VASP's stress has the sign of a pressure: sigma = -kbar * this."""

ATM_TO_GPA = 1.01325e-4
"""1 atm in GPa."""

BOLTZMANN_EV_PER_K = 8.617333262e-5
"""Boltzmann constant in eV/K."""

ACCELERATION = 9.648533212e-3
"""1 eV/(Å·amu) in Å/fs²: force over mass to acceleration."""
