from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar, cast

from attrs import define as _attrs_define
from attrs import field as _attrs_field

from ..models.run_request_mode import RunRequestMode, check_run_request_mode
from ..types import UNSET, Unset

T = TypeVar("T", bound="RunRequest")


@_attrs_define
class RunRequest:
    """Which script to run, and how."""

    script_id: str
    """ The id of an allow-listed script. """
    args: list[str] | Unset = UNSET
    """ The arguments, in order; none when left out. `null` is refused. How many, how long and of
    which form they may be is the script's own configuration.
     """
    mode: RunRequestMode | Unset = UNSET
    """ Wait for the end (`sync`) or not (`async`). Left out, the script's own mode decides. A
    word a server does not know is treated as left out.
     """
    additional_properties: dict[str, Any] = _attrs_field(init=False, factory=dict)

    def to_dict(self) -> dict[str, Any]:
        script_id = self.script_id

        args: list[str] | Unset = UNSET
        if not isinstance(self.args, Unset):
            args = self.args

        mode: str | Unset = UNSET
        if not isinstance(self.mode, Unset):
            mode = self.mode

        field_dict: dict[str, Any] = {}
        field_dict.update(self.additional_properties)
        field_dict.update(
            {
                "scriptId": script_id,
            }
        )
        if args is not UNSET:
            field_dict["args"] = args
        if mode is not UNSET:
            field_dict["mode"] = mode

        return field_dict

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        d = dict(src_dict)
        script_id = d.pop("scriptId")

        args = cast(list[str], d.pop("args", UNSET))

        _mode = d.pop("mode", UNSET)
        mode: RunRequestMode | Unset
        if isinstance(_mode, Unset):
            mode = UNSET
        else:
            mode = check_run_request_mode(_mode)

        run_request = cls(
            script_id=script_id,
            args=args,
            mode=mode,
        )

        run_request.additional_properties = d
        return run_request

    @property
    def additional_keys(self) -> list[str]:
        return list(self.additional_properties.keys())

    def __getitem__(self, key: str) -> Any:
        return self.additional_properties[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.additional_properties[key] = value

    def __delitem__(self, key: str) -> None:
        del self.additional_properties[key]

    def __contains__(self, key: str) -> bool:
        return key in self.additional_properties
