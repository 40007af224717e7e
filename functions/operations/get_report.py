"""GET /v1/operations/report."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from functions.operations._report import Report, report_of
from shared.context.context import Context
from shared.core.problems import Problem
from shared.functions.decorators import http_function
from shared.http.files import File, preferred
from shared.http.messages import HttpRequest
from shared.records.system_accounts import HOME_CURRENCY

_JSON: Final = "application/json"
_HTML: Final = "text/html"


class ReportQuery(BaseModel):
    """The day of the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    day: str | None = Field(
        default=None,
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        description="The day (UTC), `YYYY-MM-DD`; yesterday when left out.",
    )


@http_function("GET /v1/operations/report", scope="operations:read", files=(_HTML,))
async def get_report(query: ReportQuery, request: HttpRequest, ctx: Context) -> Report | File:
    """Retrieve the report of a day: audit, seal, reconciliations and dead letters.

    Accept selects JSON or a page, `text/html`, whose language (pt-BR or en) Accept-Language selects.
    """
    media_type = preferred(request.header("accept"), (_JSON, _HTML))
    day = query.day or f"{ctx.now - timedelta(days=1):%Y-%m-%d}"
    try:
        date.fromisoformat(day)
    except ValueError:
        raise Problem.parameter("malformed_request", "day", f"{day} is not a day of the calendar.") from None
    report = await report_of(ctx, day, HOME_CURRENCY)
    if media_type == _JSON:
        return report
    # Imported when it is used: a request for JSON needs no templates.
    from functions.operations._report_page import page_of

    page = page_of(report, request.header("accept-language"))
    return File("text/html; charset=utf-8", f"report-{day}.html", page.encode())
