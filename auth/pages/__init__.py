"""The pages that people see: one layout, one set of headers, one door with CSRF.

A page is `page(request, "name.jinja", **facts)` inside a story that `door` serves:

    door("/auth/account", story, authority)      a Starlette route
    async def story(request, authority): ...     reads `browsing(request)`, returns a Response
"""

from auth.pages.doors import Browsing, Story, browsing, door, see_other, stopped
from auth.pages.layout import Fault, form_target, page

__all__ = [
    "Browsing",
    "Fault",
    "Story",
    "browsing",
    "door",
    "form_target",
    "page",
    "see_other",
    "stopped",
]
