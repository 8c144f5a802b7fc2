"""What a station keeps on disk, and for how long."""

from __future__ import annotations

from pydantic import Field

from zeroline.edge_app.configuration.setting import Number, Setting, Whole


class Storage(Setting):
    """Parts, events and pictures in the data folder."""

    keep_days: Whole = Field(
        default=30, title="Days", ge=1, le=3650,
        description="Pictures are kept for so many days.",
    )  # fmt: skip
    keep_gb: Number | None = Field(
        default=None, title="Size", gt=0, le=100_000, allow_inf_nan=False,
        description="GB that all pictures may take. The oldest OK pictures go first, NG ones "
        "last. Without: no bound but the free space.",
    )  # fmt: skip
    keep_free_gb: Number = Field(
        default=5.0, title="Free space", ge=0, le=100_000, allow_inf_nan=False,
        description="GB of the disk that stay free. Pictures go before it gets less.",
    )  # fmt: skip
    ok_sample: Number = Field(
        default=0.01, title="OK pictures", ge=0, le=1,
        description="Share of the OK parts whose pictures are kept.",
    )  # fmt: skip
