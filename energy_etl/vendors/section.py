"""What the settings of every vendor that is read from have in common."""

from pydantic import BaseModel, ConfigDict, Field

from energy_etl.rest import Limits


class ReadSection(BaseModel):
    """How hard a vendor's API is called; each vendor's section says where and as whom."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    max_parallel: int = Field(default=8, ge=1, le=64, description="Calls at once.")
    answer_s: float = Field(default=30.0, gt=0, description="Seconds that one exchange may take.")
    total_s: float = Field(
        default=180.0, gt=0, description="Seconds that all attempts of one call may take."
    )

    @property
    def limits(self) -> Limits:
        """What one call may cost by these."""
        return Limits(answer_s=self.answer_s, total_s=self.total_s)
