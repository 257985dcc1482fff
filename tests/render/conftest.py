"""One option: ``python -m pytest tests/render --update-golden`` writes the texts anew; look at the difference before it is kept."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew instead of comparing with it")
