"""Messages to whatever Apprise reaches by URL: mail, Telegram, Slack, Teams and a hundred others."""

import re

from cleverbetter_dagster.escaping import uncalled
from cleverbetter_dagster.store.channels.silence import silent_libraries

TITLE = "cleverbetter"
LONGEST_SECONDS = 20.0
"""For one message, with the parts that the service needs it to be split into."""

_STATUS = re.compile(r"error=(\d{3})\b")


def send_by_apprise(url: str, text: str) -> str | None:
    """Send a text to a URL of Apprise. Never raises, and follows no redirect.

    Args:
        url: of one service, such as `mailto://user:password@example.com` or `tgram://token/chat`.
        text: the message; in a chat it calls nobody. Split where the service takes only shorter ones.

    Returns:
        None if the service took it, else what went wrong; no part of the URL but its scheme.
    """
    scheme = url.partition(":")[0]
    with silent_libraries():
        import apprise  # costs half a second

        asset = apprise.AppriseAsset(
            app_id=TITLE,
            app_desc=TITLE,
            service_timeout=LONGEST_SECONDS,
            http_redirects=False,
            interpret_emojis=False,
        )
        try:
            service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
            if service is None:
                return f"Apprise cannot use the {scheme} URL: the scheme is unknown, or a part of it missing or wrong"
            if "overflow=" not in url:
                service.overflow_mode = apprise.OverflowMode.SPLIT
            sender = apprise.Apprise(asset=asset)
            sender.add(service)
            result = sender.notify(uncalled(text), title=TITLE, body_format=apprise.NotifyFormat.TEXT)
        except Exception as error:  # noqa: BLE001  a plug-in of Apprise may raise anything, and its message may hold the URL
            return f"Apprise failed to send to the {scheme} URL ({type(error).__name__})"
        return None if result else f"the {scheme} service {_reason(result)}"


def _reason(result: object) -> str:
    """What went wrong, made of status codes only: what Apprise logs may hold the URL."""
    logged = " ".join(entry.message for entry in result.logs())  # type: ignore[attr-defined]
    codes = list(dict.fromkeys(_STATUS.findall(logged)))
    return f"answered {' and '.join(codes)}" if codes else "was not reached, or did not take the message"
