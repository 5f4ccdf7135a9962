from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from zart_cli.sample import sample_input


class Address(BaseModel):
    city: str
    zip: str = Field(examples=["12345"])


class Order(BaseModel):
    id: UUID
    kind: Literal["gift", "sale"]
    amount: float = Field(ge=10)
    to: Address
    items: list[Address] = Field(min_length=1)
    note: str | None
    tags: list[str]
    urgent: bool = False


def test_a_sample_of_a_model_fits_the_model() -> None:
    found = sample_input(Order.model_json_schema())
    assert Order.model_validate(found).to.zip == "12345"
    assert "urgent" not in found


def test_a_schema_that_says_nothing_gives_null() -> None:
    assert sample_input({}) is None


def test_a_schema_that_contains_itself_ends() -> None:
    tree = {
        "$defs": {
            "T": {"type": "object", "required": ["child"], "properties": {"child": {"$ref": "#/$defs/T"}}}
        },
        "$ref": "#/$defs/T",
    }
    assert "child" in sample_input(tree)
