"""A statement in Open Financial Exchange 2.1.1 (OFX), which programs for personal finance and accounting import."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final
from xml.sax.saxutils import escape

from functions.statements._period import Period, pages_of
from shared.context.context import Context
from shared.core.clock import parse_time
from shared.core.money import decimal_text
from shared.records.statement_lines import LineDocument

BANK_ID: Final = "LASTRO"
_MEMO_CHARACTERS: Final = 255  # OFX 2.1.1 §11.4.3.1
_HEAD: Final = (
    '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\r\n'
    '<?OFX OFXHEADER="200" VERSION="211" SECURITY="NONE" OLDFILEUID="NONE" NEWFILEUID="NONE"?>\r\n'
)
_STATUS: Final = "<STATUS><CODE>0</CODE><SEVERITY>INFO</SEVERITY></STATUS>"
# What XML 1.0 §2.2 does not allow in a document; a description cannot have control characters.
_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


async def ofx_of(ctx: Context, period: Period) -> AsyncGenerator[bytes, None]:
    """Yield the file in pieces: a bank statement response (§11.4.2.2) with one transaction for each line."""
    yield _beginning(period).encode()
    async with aclosing(pages_of(ctx, period)) as pages:
        async for page in pages:
            yield "".join(map(_transaction, page)).encode()
    yield _end(period).encode()


def account_number(account_id: str) -> str:
    """Return an account's id as ACCTID, which has at most 22 characters (§11.3.1): the 16 bytes of its id in base64url
    (RFC 4648 §5) without padding."""
    return urlsafe_b64encode(bytes.fromhex(account_id.rpartition("_")[2])).rstrip(b"=").decode()


def _beginning(period: Period) -> str:
    account = period.account
    return (
        f"{_HEAD}<OFX><SIGNONMSGSRSV1><SONRS>{_STATUS}<DTSERVER>{_time(period.ends_at)}</DTSERVER>"
        "<LANGUAGE>POR</LANGUAGE><FI><ORG>Lastro</ORG></FI></SONRS></SIGNONMSGSRSV1>\r\n"
        f"<BANKMSGSRSV1><STMTTRNRS><TRNUID>0</TRNUID>{_STATUS}<STMTRS><CURDEF>{account['currency']}</CURDEF>"
        f"<BANKACCTFROM><BANKID>{BANK_ID}</BANKID><ACCTID>{account_number(account['id'])}</ACCTID>"
        "<ACCTTYPE>CHECKING</ACCTTYPE></BANKACCTFROM>\r\n"
        f"<BANKTRANLIST><DTSTART>{_time(period.begins_at)}</DTSTART><DTEND>{_time(period.ends_at)}</DTEND>\r\n"
    )


def _transaction(line: LineDocument) -> str:
    is_credit = line["direction"] == "credit"
    amount = decimal_text(line["amount"] if is_credit else -line["amount"], line["currency"])
    memo = line["description"] or line["payment_id"] or line["transfer_id"]
    return (
        f"<STMTTRN><TRNTYPE>{'CREDIT' if is_credit else 'DEBIT'}</TRNTYPE>"
        f"<DTPOSTED>{_time(line['recorded_at'])}</DTPOSTED><TRNAMT>{amount}</TRNAMT><FITID>{line['line_id']}</FITID>"
        f"<MEMO>{_text(memo[:_MEMO_CHARACTERS])}</MEMO></STMTTRN>\r\n"
    )


def _end(period: Period) -> str:
    balance = decimal_text(period.closing, period.account["currency"])
    return (
        f"</BANKTRANLIST>\r\n<LEDGERBAL><BALAMT>{balance}</BALAMT><DTASOF>{_time(period.ends_at)}</DTASOF></LEDGERBAL>"
        "</STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>\r\n"
    )


def _time(text: str) -> str:
    """Return a time in OFX's form, with milliseconds and its zone (§3.2.8.2)."""
    time = parse_time(text)
    return f"{time:%Y%m%d%H%M%S}.{time.microsecond // 1000:03d}[0:GMT]"


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text))
