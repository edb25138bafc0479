"""The container set-up says the same as the code: its variables are settings, its roads are ours."""

from __future__ import annotations

import re
from pathlib import Path

from chassis.settings import rows
from exchange.apart import SERVICES
from tests.neighbours.apart import PATHS

ROOT = Path(__file__).resolve().parents[2]


def test_every_variable_of_the_compose_file_is_a_setting() -> None:
    known = {row.variable for row in rows()}
    used = set(re.findall(r"THROUGHLINE_[A-Z_]+", (ROOT / "docker-compose.yml").read_text()))
    used |= set(re.findall(r"THROUGHLINE_[A-Z_]+", (ROOT / "Dockerfile").read_text()))
    assert used <= known
    assert len(used) > 8


def test_the_proxy_takes_each_path_where_the_contract_tests_do_and_never_inside() -> None:
    text = (ROOT / "deploy" / "Caddyfile").read_text()
    roads = re.findall(r"reverse_proxy (?:(/\S+)\* )?(\w+):8080", text)
    assert [(path or "/", service) for path, service in roads] == list(PATHS)
    assert "respond @inside 404" in text


def test_every_service_has_a_container_and_the_image_every_package() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    for service in SERVICES:
        assert f"command: [serve, {service}]" in compose
    image = (ROOT / "Dockerfile").read_text()
    for package in (p.parent.name for p in ROOT.glob("*/__init__.py")):
        if package not in ("tests", "benchmarks"):
            assert f"COPY {package} {package}" in image
