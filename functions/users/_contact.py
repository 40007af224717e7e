"""E-mail addresses and telephone numbers: validation of their form, and normalisation.

Both libraries are imported at first use: few functions need them, and each import takes tens of milliseconds.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

# Checked before the library parses the text, which would also accept letters, extensions and `tel:` URIs.
_PHONE: Final = re.compile(r"\+[0-9](?:[ .()-]{0,2}[0-9]){1,14}")


def email(text: str) -> str:
    """Return the e-mail address (RFC 5322 and 6531, no display name) with its domain in lower case, in Unicode NFC.

    Only the form is checked; DNS is not queried. Raises ValueError when the text is not an e-mail address.
    """
    from email_validator import validate_email

    # `test_environment` accepts the reserved domain .test (RFC 6761), which examples and tests use.
    return validate_email(text, check_deliverability=False, test_environment=True, strict=True).normalized


def phone(text: str) -> str:
    """Return a telephone number in E.164 (`+5511987654321`). The text is in international form; it may have separators.

    The country code must exist, and the length must be possible in that country. Whether the number is in use is not
    checked. Raises ValueError when the text is not a telephone number.
    """
    if _PHONE.fullmatch(text) is None:
        raise ValueError("a phone number begins with + and its country code")
    from phonenumbers import NumberParseException, PhoneNumberFormat, format_number, is_possible_number, parse

    try:
        number = parse(text)
    except NumberParseException:
        raise ValueError("the phone number's country code is not known") from None
    if not is_possible_number(number):
        raise ValueError("the phone number is too long or too short for its country")
    return format_number(number, PhoneNumberFormat.E164)


Email = Annotated[str, Field(max_length=254), AfterValidator(email)]
"""An e-mail address in a request body."""
Phone = Annotated[str, Field(max_length=40), AfterValidator(phone)]
"""A telephone number in a request body."""
