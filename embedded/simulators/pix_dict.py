"""The directory of PIX keys (DICT) behind a simulated provider, with its limits.

It has every key, except e-mail addresses of the domain `.invalid` (RFC 2606), which never exist.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from embedded.simulators.answering import json_response
from embedded.simulators.pix_answers import problem_answer
from shared.adapters.pix.keys import key_kind
from shared.core.clock import Clock
from shared.http.messages import HttpRequest, HttpResponse

UNKNOWN_DOMAIN: Final = ".invalid"
MISS: Final = 20
PAYER_TOKENS: Final = 1_000
PAYER_TOKENS_PER_MINUTE: Final = 2
PARTICIPANT_TOKENS: Final = 50_000
PARTICIPANT_TOKENS_PER_MINUTE: Final = 25_000
_MAX_PAYERS: Final = 10_000


class TokenBucket:
    """Tokens that are used up by requests and added with time, up to `size`."""

    def __init__(self, size: int, per_minute: int, now: datetime) -> None:
        self._size = size
        self._per_minute = per_minute
        self._tokens = float(size)
        self._at = now

    def has_tokens(self, now: datetime) -> bool:
        """Return whether there is a token now."""
        elapsed = max(0.0, (now - self._at).total_seconds())
        self._tokens = min(float(self._size), self._tokens + elapsed * self._per_minute / 60)
        self._at = now
        return self._tokens >= 1

    def take(self, tokens: int) -> None:
        """Take tokens, at most those that there are."""
        self._tokens = max(0.0, self._tokens - tokens)


class Directory:
    """Answers look-ups: a known key takes one token of the payer and of the provider, an unknown one takes twenty."""

    def __init__(self, clock: Clock, participant_tokens: int = PARTICIPANT_TOKENS) -> None:
        self._clock = clock
        self._provider = TokenBucket(participant_tokens, PARTICIPANT_TOKENS_PER_MINUTE, clock.now())
        self._payers: OrderedDict[str, TokenBucket] = OrderedDict()

    async def get(self, key: str, request: HttpRequest) -> HttpResponse:
        """Return the entry of a key, 404 without one, and 429 when the payer or the provider has no tokens left."""
        payer = dict(parse_qsl(request.query)).get("pagador")
        if payer is None:
            return problem_answer(400, "RequisicaoInvalida", "`pagador` names the payer.")
        now = self._clock.now()
        buckets = (self._provider, self._payer(payer, now))
        if not all(bucket.has_tokens(now) for bucket in buckets):
            return problem_answer(429, "LimiteDeConsultas", "There are too many look-ups. Try again later.")
        kind = key_kind(key)
        is_known = kind is not None and not (kind == "email" and key.endswith(UNKNOWN_DOMAIN))
        for bucket in buckets:
            bucket.take(1 if is_known else MISS)
        if not is_known:
            return problem_answer(404, "ChaveNaoEncontrada", "There is no such key.")
        return json_response(200, {"chave": key, "tipo": kind})

    def _payer(self, payer: str, now: datetime) -> TokenBucket:
        bucket = self._payers.pop(payer, None) or TokenBucket(PAYER_TOKENS, PAYER_TOKENS_PER_MINUTE, now)
        self._payers[payer] = bucket
        if len(self._payers) > _MAX_PAYERS:
            self._payers.popitem(last=False)
        return bucket
