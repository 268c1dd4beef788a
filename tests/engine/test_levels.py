"""harken.engine.levels: the best module that this processor can run, whatever is missing or broken."""

from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from harken.engine import levels
from harken.errors import ConfigError

V2 = "fpu cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3"
V3 = f"{V2} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
V4 = f"{V3} avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni"
X86_64 = ("avx512", "avx2", "baseline")


@pytest.fixture(autouse=True)
def forgets():
    """What is looked for once is looked for again, before and after."""
    cached = (levels._choose, levels.cpuinfo)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine of this architecture and these flags, with these modules; those that are ``broken`` do not load."""

    def make(flags, modules=X86_64, broken=(), architecture="x86_64"):
        cpuinfo = tmp_path / "cpuinfo"
        if flags is not None:
            core = "processor\t: {}\nmodel name\t: A Fine Processor\nflags\t\t: {}\nbogomips\t: 1\n\n"
            cpuinfo.write_text(core.format(0, flags) + core.format(1, "none"))
        monkeypatch.setattr(levels, "CPUINFO", cpuinfo)
        monkeypatch.setattr(levels.platform, "machine", lambda: architecture)

        def find_spec(name):
            return SimpleNamespace() if name.rpartition("_")[2] in modules else None

        def import_module(name):
            level = name.rpartition("_")[2]
            if level not in modules:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)
            if level in broken:
                raise ImportError(f"{name}.so: version `GLIBCXX_3.4.99' not found")
            return ModuleType(name)

        monkeypatch.setattr(levels, "find_spec", find_spec)
        monkeypatch.setattr(levels, "import_module", import_module)

    return make


def chosen():
    module = levels.native_module()
    return module and module.__name__.rpartition("_")[2]


@pytest.mark.parametrize(("flags", "level"), [(V4, "avx512"), (V3, "avx2"), (V2, "baseline"), ("fpu sse sse2", None)])
def test_the_best_level_of_the_processor(machine, flags, level):
    machine(flags)
    assert chosen() == level
    assert levels.runnable() == (*X86_64[X86_64.index(level) if level else 3 :], "generic")


@pytest.mark.parametrize("flag", sorted(set(V4.split()) - {"fpu", "avx512_vnni"}))
def test_every_flag_counts(machine, flag):
    machine(" ".join(set(V4.split()) - {flag}))
    assert chosen() == (None if flag in V2.split() else "baseline" if flag in V3.split() else "avx2")
    assert f"it lacks {flag}" in levels.reason()


def test_why(machine):
    machine(V4)
    assert levels.reason() == "the best that there is for x86_64"


def test_it_is_looked_for_once(machine, monkeypatch):
    machine(V4)
    first = levels.native_module()
    monkeypatch.setattr(levels, "import_module", None)
    assert levels.native_module() is first


def test_nothing_was_built(machine):
    machine(V4, modules=())
    assert chosen() is None
    assert levels.reason() == "the native engine was not built when harken was installed"
    assert levels.built() == ()


def test_a_level_that_was_not_built_is_passed_over(machine):
    machine(V4, modules=("avx2", "baseline"))
    assert chosen() == "avx2"
    assert levels.reason() == "the module of avx512 was not built"
    assert levels.built() == ("avx2", "baseline")


def test_modules_that_do_not_load_are_passed_over(machine):
    machine(V4, broken=("avx512",))
    assert chosen() == "avx2"
    assert "avx512 does not load" in levels.reason()
    assert "GLIBCXX_3.4.99" in levels.reason()


def test_no_module_loads(machine):
    machine(V4, broken=X86_64)
    assert chosen() is None
    assert levels.reason().count("does not load") == 3


def test_a_module_that_lacks_another_was_built(machine, monkeypatch):
    machine(V4)

    def import_module(name):
        raise ModuleNotFoundError("No module named 'other'", name="other")

    monkeypatch.setattr(levels, "import_module", import_module)
    assert chosen() is None
    assert "avx512 does not load (No module named 'other')" in levels.reason()


def test_an_older_compiler_builds_generic(machine):
    machine(V4, modules=("generic",))
    assert chosen() == "generic"


def test_another_architecture(machine):
    machine(None, modules=("generic",), architecture="aarch64")
    assert chosen() == "generic"
    assert levels.reason() == "the best that there is for aarch64"
    assert levels.runnable() == ("generic",)
    with pytest.raises(ConfigError, match=r"HARKEN_ENGINE is 'avx2', and aarch64 has no avx2: name one .*generic"):
        levels.forced_module("avx2")


@pytest.mark.parametrize("architecture", ["x86_64", "AMD64"])
def test_another_system_than_linux_gets_what_every_processor_has(machine, architecture):
    machine(None, architecture=architecture)
    assert chosen() == "baseline"
    assert "cannot be read on this system" in levels.reason()
    assert levels.runnable() == ("baseline", "generic")


def test_what_linux_says_of_the_first_processor(machine):
    machine(V2)
    assert levels.cpuinfo("flags") == V2
    assert levels.cpuinfo("model name") == "A Fine Processor"
    assert levels.cpuinfo("colour") is None


@pytest.mark.parametrize("level", ["avx2", "baseline"])
def test_a_forced_level_may_be_less_than_the_best(machine, level):
    machine(V4)
    assert levels.forced_module(level).__name__ == f"harken.engine._native_{level}"
    assert levels.forced_module("native").__name__ == "harken.engine._native_avx512"


@pytest.mark.parametrize(
    ("name", "state", "words"),
    [
        (
            "avx512",
            {"flags": V3},
            "this processor cannot run avx512 .it lacks avx512bw, .*: name .* .avx2, baseline.",
        ),
        ("avx512", {"flags": V4, "modules": ("avx2",)}, "the module of avx512 was not built: name one .* .avx2."),
        ("avx2", {"flags": V4, "broken": ("avx2",)}, "the module of avx2 does not load .*GLIBCXX"),
        ("avx512", {"flags": None}, "whether this processor has avx512 cannot be read on this system"),
        ("native", {"flags": V4, "modules": ()}, "was not built .*: install a C.. compiler .* or unset it"),
        ("native", {"flags": "fpu"}, "it lacks .* or unset it"),
        ("generic", {"flags": V4}, "the module of generic was not built"),
    ],
)
def test_a_forced_level_that_is_not_there_is_an_error(machine, name, state, words):
    machine(**state)
    with pytest.raises(ConfigError, match=f"HARKEN_ENGINE is '{name}', and .*{words}"):
        levels.forced_module(name)


def test_the_real_processor_is_read():
    if not Path("/proc/cpuinfo").exists():
        pytest.skip("this is not Linux")
    assert levels.runnable()
