"""CIFs as people have them, written from a few numbers."""

CUBE = "a 5.1 b 5.1 c 5.1 alpha 90 beta 90 gamma 90"
IDENTITY = ("x,y,z",)


def cell(text=CUBE):
    """Lines of a cell: ``a 5.1 b 5.1 ... gamma 90``."""
    words = text.split()
    names = {"a": "length_a", "b": "length_b", "c": "length_c"}
    return [
        f"_cell_{names.get(key, f'angle_{key}')} {value}"
        for key, value in zip(words[::2], words[1::2], strict=True)
    ]


def sites(rows, columns="label type_symbol fract_x fract_y fract_z"):
    """Lines of the loop of sites."""
    return ["loop_", *(f"_atom_site_{name}" for name in columns.split()), *rows]


def operations(texts=IDENTITY, tag="_symmetry_equiv_pos_as_xyz"):
    """Lines of the loop of operations."""
    return ["loop_", tag, *(f"'{text}'" for text in texts)]


def block(*parts, name="one", **tags):
    """A data block; keys are tags without their first underscore, HM and IT are symbol and number of the
    space group."""
    names = {
        "HM": "symmetry_space_group_name_H-M",
        "IT": "symmetry_Int_Tables_number",
        "formula": "chemical_formula_sum",
        "Z": "cell_formula_units_Z",
    }
    lines = [f"data_{name}"]
    lines += [f"_{names.get(key, key)} '{value}'" for key, value in tags.items()]
    for part in parts:
        lines += part
    return "\n".join(lines) + "\n"
