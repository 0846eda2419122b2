import pytest

from pesatlas.potentials.kinds import chgnet, matgl
from small_potentials import SHARED_MODELS, save_m3gnet, save_tensornet


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {
        "m3gnet": save_m3gnet(root / "m3gnet"),
        "m3gnet-kinked": save_m3gnet(root / "m3gnet-kinked", smooth=False),
        "tensornet": save_tensornet(root / "tensornet"),
    }


@pytest.fixture(scope="session")
def fitted_folder(tmp_path_factory):
    return save_tensornet(tmp_path_factory.mktemp("weights") / "fitted", steps=120)


@pytest.fixture(scope="session")
def potentials(folders):
    loaded = {name: matgl.load(matgl.Options(path=folder), "cpu") for name, folder in folders.items()}
    return {**loaded, "chgnet": chgnet.load(chgnet.Options(), "cpu")}


@pytest.fixture
def shared_models():
    if not SHARED_MODELS.is_dir():
        pytest.skip("needs the pretrained weights beside the checkout (../shared/models)")
    return SHARED_MODELS
