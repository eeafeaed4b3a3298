"""Any file and any environment: settings or a configuration error, never anything else, and no secret shown."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from configured import app, runner
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from bridge.errors import ConfigurationError
from bridge.settings import Settings, load, shape

# ---- any input at all

settings_of_the_search = settings_of(deadline=None, max_examples=100)
TELLTALE = "sk-TELLTALE0secret0"
_keys = st.sampled_from(
    sorted(
        {*shape.TABLES, *shape.ENTRIES, "grace", "spool", "api_kye", "_env_file", "a", "a b", "é\n", ""}
        | {key for entries in shape.ENTRIES.values() for key in entries.keys()}  # noqa: SIM118  # a method of ours
        | {key for model in shape.TABLES.values() for key in shape.keys(model)}
    )
)
_texts = st.sampled_from(
    [
        "bctrl", "anchor", *shape.ENTRIES["sources"].models, "a", "/a", "start", "2026-10-03T00:00:00Z",
        "20s", "8MiB", "https://h/", "",
        f"https://{TELLTALE}@h/", f"redis://:{TELLTALE}@h", f"https://[{TELLTALE}", "embedded:x", "127.0.0.1:1", "..",
    ]
)  # fmt: skip
_times = st.datetimes(timezones=st.none() | st.just(UTC))
_values = st.recursive(
    _texts
    | st.text(max_size=8)
    | st.integers()
    | st.floats()
    | st.booleans()
    | st.just(TELLTALE)
    | st.dates()
    | _times,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=4),
    max_leaves=12,
)
_entry = st.dictionaries(_keys, _values, max_size=6)
_tables = st.dictionaries(_keys | st.text(max_size=5), _values, max_size=4)
_likely = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(shape.TABLES, _entry)
    | {name: st.dictionaries(st.sampled_from(["a", "b-c"]), _entry, max_size=2) for name in shape.ENTRIES},
)


def toml(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(key))} = {toml(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool | float) else str(value)


def shown(file: Path, environ: Mapping[str, str]) -> tuple[Settings | None, str]:
    """What loads, and everything that is ever shown of it: representations, errors, the output of check."""
    checked = runner.invoke(app, ["-c", str(file)], env=environ).output
    checked += runner.invoke(app, ["-c", str(file), "--json"], env=environ).output
    try:
        settings = load(file, environ)
    except ConfigurationError as error:
        return None, f"{error}{error!r}{error.problems!r}{checked}"
    return settings, f"{settings}{settings!r}{checked}"


@settings_of_the_search
@given(_tables | _likely, st.dictionaries(st.tuples(_keys, _keys, _keys), _texts | st.just(TELLTALE), max_size=3))
def test_any_input_gives_settings_or_a_configuration_error(
    tables: dict[str, Any], variables: dict[tuple[str, ...], str]
) -> None:
    """No configuration, however odd, raises anything else, and a refusal shows none of its values."""
    environ = {"BRIDGE_" + "__".join(filter(None, name)).upper(): value for name, value in variables.items()}
    with TemporaryDirectory() as directory:
        file = Path(directory) / "bridge.toml"
        file.write_text("".join(f"{toml(key)} = {toml(value)}\n" for key, value in tables.items()), newline="")
        settings, text = shown(file, environ)
    assert settings is not None or TELLTALE not in text


_visible = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20).map(TELLTALE.__add__)
_keys_of_hooks = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
_secret = {
    "redis.url": st.text("abcXYZ0189-._~", max_size=20).map(lambda password: f"redis://u:{TELLTALE}{password}@h/0"),
    "http.token": _visible,
    "accounts.a.api_key": _visible,
    "sources.n.headers.X-Key": _visible.map("Bearer ".__add__),
    "sources.n.url": st.text("abcXYZ0189-._~", max_size=20).map(f"https://h/?{TELLTALE}".__add__),
    "destinations.d.secrets": _keys_of_hooks,
    "destinations.d.url": st.text("abcXYZ0189-._~", max_size=20).map(f"https://u:{TELLTALE}@h/?{TELLTALE}".__add__),
    "destinations.d.headers.X-Key": _visible.map("Bearer ".__add__),
    "destinations.d.proxy": st.text("abcXYZ0189-._~", max_size=20).map(lambda word: f"http://u:{TELLTALE}{word}@h:1"),
    "destinations.r.url": st.text("abcXYZ0189-._~", max_size=20).map(lambda word: f"redis://u:{TELLTALE}{word}@h/0"),
}
_fate = st.sampled_from(["right", "right", "misspelt", "broken", "environment"])


@settings_of_the_search
@given(st.fixed_dictionaries({place: st.tuples(value, _fate) for place, value in _secret.items()}))
def test_no_secret_is_ever_shown(secrets: dict[str, tuple[str, str]]) -> None:
    """Secrets stay out of representations, errors and check: in their place, misspelt, malformed, from anywhere."""
    lines = [
        'accounts.a.provider = "bctrl"',
        'sources.n.kind = "sse"',
        'destinations.d.types = ["x"]',
        'destinations.r.stream = "x"',
    ]
    environ = {}
    for place, (value, fate) in secrets.items():
        given_value = value + "\t\u00e9" if fate == "broken" else value
        if fate == "environment":
            environ["BRIDGE_" + place.replace(".", "__").upper()] = json.dumps([value]) if "secrets" in place else value
        else:
            listed = [given_value] if "secrets" in place else given_value
            key = place.replace("headers", "header") if ".headers." in place else f"{place}x"
            lines.append(f"{key if fate == 'misspelt' else place} = {toml(listed)}")
    with TemporaryDirectory() as directory:
        file = Path(directory) / "bridge.toml"
        file.write_text("\n".join(lines))
        settings, text = shown(file, environ)
    assert (settings is not None) == all(fate in {"right", "environment"} for _, fate in secrets.values())
    assert TELLTALE not in text
    assert secrets["destinations.d.secrets"][0].removeprefix("whsec_") not in text
