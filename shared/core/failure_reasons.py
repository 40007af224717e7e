"""The reasons why a payment, refund or deposit fails: the catalogue of the codes in `failure.code`.

They are not HTTP errors. The request was accepted and the failure is found later; the reason is in the resource and in
its events. A code may have the same name as a problem of the HTTP interface (problems.py), and then shares its page.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class FailureReason(NamedTuple):
    """One reason. Its page shows `cause` and `remedy` to a developer; text in backquotes is set as code."""

    code: str
    title: str
    seen_in: str
    """The resources that can have this reason, with their status."""
    cause: str
    remedy: str


def _catalogue(*reasons: FailureReason) -> dict[str, FailureReason]:
    return {reason.code: reason for reason in reasons}


FAILURE_REASONS: Final[dict[str, FailureReason]] = _catalogue(
    FailureReason(
        "insufficient_funds",
        "The available balance is too low",
        "a payment that is `declined`; a refund that is `failed`",
        "The account that pays has less available than the amount. Available is the posted balance plus the overdraft "
        "limit, less what is held for other payments and refunds. Of a card payment, the card has not enough.",
        "Add funds to the account or use a smaller amount, and create a new payment or refund.",
    ),
    FailureReason(
        "account_blocked",
        "An account is blocked",
        "a payment that is `declined`; a refund or a deposit that is `failed`",
        "The paying account is blocked, or the receiving account is blocked for credits too (mode `all`).",
        "Unblock the account, or use another one, and create a new payment, refund or deposit.",
    ),
    FailureReason(
        "account_closed",
        "An account is closed",
        "a payment that is `declined`; a refund or a deposit that is `failed`",
        "The paying or the receiving account was closed after the request was accepted.",
        "Use another account and create a new payment, refund or deposit.",
    ),
    FailureReason(
        "user_suspended",
        "The account's owner is suspended",
        "a payment that is `declined`",
        "The user who owns the paying account is suspended.",
        "Activate the user, or pay from an account of another user, and create a new payment.",
    ),
    FailureReason(
        "limit_exceeded",
        "A limit of the payer is exceeded",
        "a payment that is `declined`",
        "The amount is larger than a limit of the paying account, alone or together with the account's other payments "
        "of the day or night. `detail` names the limit.",
        "Use a smaller amount, wait for the next day or night, or raise the limit, which takes 24 hours. Then create a "
        "new payment.",
    ),
    FailureReason(
        "card_declined",
        "The card's issuer has declined the payment",
        "a card payment that is `declined`",
        "The issuer of the card, or the gateway, did not authorize the amount. `detail` has the gateway's reason where "
        "it gives one. Nothing is held on the card.",
        "Ask the cardholder to use another card or to call the issuer, and create a new payment.",
    ),
    FailureReason(
        "card_expired",
        "The card has expired",
        "a card payment that is `declined`",
        "The card's date of expiry has passed.",
        "Ask the cardholder for another card, and create a new payment with its token.",
    ),
    FailureReason(
        "card_blocked",
        "The card is blocked",
        "a card payment that is `declined`",
        "The issuer has blocked the card, for example because it was reported as lost or stolen.",
        "Do not try the card again. Ask the cardholder for another card.",
    ),
    FailureReason(
        "invalid_card_token",
        "The card's token is not valid",
        "a card payment that is `declined`",
        "The gateway did not issue the token, or the token was used or has expired.",
        "Get a new token from the gateway, and create a new payment.",
    ),
    FailureReason(
        "currency_mismatch",
        "The currencies differ",
        "a payment that is `declined`; a refund that is `failed`",
        "The paying account has another currency than the amount.",
        "Use an account and an amount of the same currency.",
    ),
    FailureReason(
        "hold_timed_out",
        "The amount could not be held in time",
        "a payment that is `expired`",
        "The platform requested the hold on the payer's account several times, and got no result. Nothing was "
        "moved, and a hold that arrives later is released.",
        "Create a new payment. If this happens often, ask the operator of the platform to look at the dead letters.",
    ),
    FailureReason(
        "deadline_passed",
        "The ledger did not record the transfer in time",
        "a payment or a refund that is `failed`",
        "The request for the transfer reached the ledger after its deadline. The ledger refused it permanently, so "
        "nothing was moved, and the hold is released.",
        "Create a new payment or refund.",
    ),
    FailureReason(
        "transfer_refused",
        "The ledger refused the transfer",
        "a payment, a refund or a deposit that is `failed`",
        "The transfer breaks a rule of the ledger: an account has one currency, and its balance is at most "
        "9223372036854775807 minor units, debit or credit. Nothing was moved, and the hold is released. `detail` names "
        "the account and the rule.",
        "Give the operator of the platform the id of the payment, refund or deposit.",
    ),
    FailureReason(
        "provider_refused",
        "The payment provider refused",
        "a payment or a deposit that is `failed`",
        "The provider, such as the PIX bank, refused to make the payment or to create the charge. `detail` begins with "
        "the provider's own code. The hold of a payment is released.",
        "Correct what the provider's code names and create a new payment or deposit.",
    ),
    FailureReason(
        "receiver_not_found",
        "There is no such receiver",
        "a payment that is `failed`",
        "The directory of the rail has no entry of the receiver (PIX: of the key). Nothing was ordered, and the hold "
        "is released. Such a look-up counts twenty times.",
        "Ask the receiver for the key, and create a new payment.",
    ),
    FailureReason(
        "look_ups_exhausted",
        "The payer has looked up too many receivers",
        "a payment that is `failed`",
        "The owner of the paying account has used up the look-ups: a person has 100, a company 1,000. Each payment "
        "takes one, a receiver that does not exist takes twenty, and a payment that is made returns one. Nothing was "
        "ordered, and the hold is released.",
        "Wait: two look-ups are added every minute. Then create a new payment.",
    ),
    FailureReason(
        "br_code_refused",
        "The terms of the BR Code do not fit the payment",
        "a payment that is `failed`",
        "A dynamic BR Code names a place where its terms are. They cannot be read there, are not signed by that place, "
        "cannot be paid any more, or have another amount. `detail` says which. Nothing was ordered, and the hold is "
        "released.",
        "Ask the receiver for a new code, and create a new payment with its amount.",
    ),
    FailureReason(
        "amount_differs",
        "The provider has moved another amount",
        "a payment that is in `review`",
        "The amount or the currency that the provider reports is not the one that was ordered. The funds stay held.",
        "Ask the provider what it has moved, and end the review with `POST /v1/payments/{id}/resolve`.",
    ),
    FailureReason(
        "review_failed",
        "A review has ended without the payment",
        "a payment that is `failed`",
        "The provider had moved another amount than was ordered. An operator has decided that the payment failed; "
        "`detail` is the operator's reason. Nothing was recorded, and the hold is released.",
        "Create a new payment if it is still to be made.",
    ),
)
