"""Chronograf's resource files, held against the format that Chronograf 1.8 to 1.10 reads.

Its image is not at hand where these tests run. The structures are those that its server decodes and
its browser side draws: `chronograf.go` (types, JSON names), `filestore` (file names, templating),
`server/cells.go`, `server/templates.go` (what is valid) of github.com/influxdata/chronograf 1.10.7.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
import yaml
from msgspec import Meta

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "docker" / "chronograf" / "resources"
FILES = sorted(FOLDER.iterdir())
BOARDS = [path for path in FILES if path.suffix == ".dashboard"]
COLUMNS = 12
PREDEFINED = {":dashboardTime:", ":upperDashboardTime:", ":interval:"}
RESERVED = PREDEFINED | {":lower:", ":upper:", ":zoomedLower:", ":zoomedUpper:", ":database:"}

Name = Annotated[str, Meta(min_length=1, max_length=50)]
Whole = Annotated[int, Meta(ge=0)]
Size = Annotated[int, Meta(ge=1)]


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """Refuses what Chronograf would silently ignore."""


class Axis(Strict):
    bounds: Annotated[list[str], Meta(min_length=2, max_length=2)]
    label: str
    prefix: str
    suffix: str
    base: Literal["10", "2", "raw", ""]
    scale: Literal["linear", "log", ""]


class Color(Strict):
    id: str
    type: Literal["max", "min", "threshold", "text", "background", "scale"]
    hex: Annotated[str, Meta(pattern="^#[0-9A-F]{6}$")]
    name: str
    value: str


class Legend(Strict):
    type: Literal["static", ""] = ""
    orientation: Literal["top", "bottom", "right", "left", ""] = ""


class Field(Strict, rename="camel"):
    internal_name: str
    display_name: str
    visible: bool


class TableOptions(Strict, rename="camel"):
    vertical_time_axis: bool
    sort_by: Field
    wrapping: Literal["truncate", "wrap", "single-line"]
    fix_first_column: bool


class DecimalPlaces(Strict, rename="camel"):
    is_enforced: bool
    digits: Annotated[int, Meta(ge=0, le=20)]


class Query(Strict):
    query: Annotated[str, Meta(min_length=1)]
    source: Literal[""]
    """Empty: whatever connection is chosen, which at the start is the only one."""
    type: Literal["influxql"]


class Cell(Strict, rename="camel"):
    i: Name
    x: Whole
    y: Whole
    w: Size
    h: Size
    name: Name
    queries: Annotated[list[Query], Meta(min_length=1)]
    axes: dict[Literal["x", "y", "y2"], Axis]
    type: Literal[
        "line", "line-stacked", "line-stepplot", "bar", "line-plus-single-stat", "single-stat",
        "gauge", "table", "note",
    ]  # fmt: skip
    colors: list[Color]
    legend: Legend
    table_options: TableOptions
    field_options: list[Field]
    time_format: str
    decimal_places: DecimalPlaces
    note: str
    note_visibility: Literal["default", "showWhenNoData"]


class TemplateValue(Strict):
    value: str
    type: Literal["tagValue", "constant", "csv"]
    selected: bool
    key: str = ""


class TemplateQuery(Strict, rename="camel"):
    influxql: str
    db: str
    measurement: str
    tag_key: str
    field_key: str


class Template(Strict, rename="camel"):
    id: Name
    temp_var: Annotated[str, Meta(pattern="^:[a-z]+:$")]
    values: list[TemplateValue]
    type: Literal["tagValues", "text", "csv"]
    label: str
    query: TemplateQuery | None = None


class Dashboard(Strict):
    id: Annotated[int, Meta(gt=100_000)]
    """Those made by hand are numbered from 1, and the first of a number wins."""
    name: Name
    organization: Literal["default"]
    cells: Annotated[list[Cell], Meta(min_length=1)]
    templates: list[Template]


OF_VALUES = {"tagValues": "tagValue", "text": "constant", "csv": "csv"}
"""Type of a variable -> type of its values, without which it is not put into a query."""


def decoded(path: Path) -> Dashboard:
    return msgspec.json.decode(path.read_bytes(), type=Dashboard)


@pytest.fixture(params=BOARDS, ids=lambda path: str(path.stem))
def board(request: pytest.FixtureRequest) -> Dashboard:
    return decoded(request.param)


def test_there_are_the_four_dashboards_and_no_login_beside_them() -> None:
    assert [path.name for path in FILES] == [
        "open-interest.dashboard",
        "order-flow.dashboard",
        "signals.dashboard",
        "system.dashboard",
    ]
    assert len({decoded(path).id for path in BOARDS}) == len(BOARDS)
    assert len({decoded(path).name for path in BOARDS}) == len(BOARDS)


def test_cells_lie_on_the_grid_beside_each_other(board: Dashboard) -> None:
    taken: set[tuple[int, int]] = set()
    for cell in board.cells:
        place = {
            (x, y) for x in range(cell.x, cell.x + cell.w) for y in range(cell.y, cell.y + cell.h)
        }
        assert cell.x + cell.w <= COLUMNS, cell.name
        assert not place & taken, cell.name
        taken |= place
    assert len({cell.i for cell in board.cells}) == len(board.cells)


def test_tables_name_the_columns_as_chronograf_does(board: Dashboard) -> None:
    """`MEASUREMENT.COLUMN`, and tags that are grouped by without the measurement."""
    for cell in board.cells:
        assert cell.axes.keys() == {"x", "y", "y2"}
        assert bool(cell.legend.type) == bool(cell.legend.orientation)
        names = [field.internal_name for field in cell.field_options]
        assert names[0] == "time"
        assert cell.table_options.sort_by.internal_name in names
        if cell.type == "table":
            (query,) = (query.query for query in cell.queries)
            selected, _, rest = query.partition(" FROM ")
            measurement = rest.partition(" ")[0].split(".")[-1].strip('"')
            columns = re.findall(r'"(\w+)"(?:,|$)', selected + ",")
            grouped = re.findall(r'"(\w+)"', rest.partition(" GROUP BY ")[2])
            expected = {f"{measurement}.{column}" for column in columns} | set(grouped)
            assert set(names[1:]) == expected, cell.name


def test_variables_are_defined_and_each_has_one_choice(board: Dashboard) -> None:
    defined = {template.temp_var for template in board.templates}
    assert len(defined) == len(board.templates)
    assert len({template.id for template in board.templates}) == len(board.templates)
    assert not defined & RESERVED
    used: set[str] = set()
    for cell in board.cells:
        for query in cell.queries:
            found = set(re.findall(r":[A-Za-z]+:", query.query))
            # Chronograf rebuilds a query that it understands; one with a variable it leaves alone.
            assert {":db:", ":dashboardTime:", ":upperDashboardTime:"} <= found, cell.name
            used |= found
    assert used <= defined | PREDEFINED
    assert defined <= used
    for template in board.templates:
        assert [value.selected for value in template.values].count(True) == 1
        assert {value.type for value in template.values} == {OF_VALUES[template.type]}
        assert (template.query is not None) == (template.type == "tagValues")


def test_the_database_comes_from_the_environment_that_compose_gives() -> None:
    document: dict[str, Any] = yaml.safe_load(
        re.sub(r"!\w+", "", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    )
    service = document["services"]["aggr-chronograf"]
    environment = service["environment"]
    mounted = "./docker/chronograf/resources:/usr/share/chronograf/resources:ro"
    assert mounted in service["volumes"]
    assert environment["RESOURCES_PATH"] == mounted.split(":")[1]
    assert environment.keys() >= {"INFLUXDB_URL", "INFLUXDB_USERNAME"}
    assert "INFLUXDB_PASSWORD" not in environment
    assert "INFLUXDB_PASSWORD=$$(cat /run/secrets/influx_password)" in service["entrypoint"][2]
    for path in BOARDS:
        text = path.read_text(encoding="utf-8")
        asked = set(re.findall(r"\{\{\s*\.(\w+)\s*\}\}", text))
        assert asked == {"INFLUX_DATABASE"}
        assert asked <= environment.keys()
        assert text.count("{{") == len(re.findall(r"\{\{ \.INFLUX_DATABASE \}\}", text))
        assert json.loads(text)["templates"][0]["values"][0]["value"] == "{{ .INFLUX_DATABASE }}"
