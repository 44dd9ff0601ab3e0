import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def load_generator():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generator = load_generator()


@pytest.mark.parametrize("page", generator.PAGES)
def test_each_reference_page_is_what_the_code_says(page):
    written = generator.REFERENCE / page
    assert written.read_text() == generator.pages()[page], "run `make docs` and commit the page"


def test_no_page_is_left_over():
    assert {p.name for p in generator.REFERENCE.glob("*.md")} == set(generator.PAGES)
