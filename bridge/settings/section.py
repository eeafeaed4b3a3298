"""What every table of the configuration is: frozen, strict, closed to unknown keys. Has no key of its own."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """One table of the configuration."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        validate_default=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )
