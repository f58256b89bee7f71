"""The page, its tokens and its writes. The page itself follows the service, so Django sends no changes."""

import datetime
from functools import cache

import pymongo
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from . import tokens


@cache
def mongo() -> pymongo.MongoClient:
    # Made at the first request, and so after a server has forked its processes.
    return pymongo.MongoClient(settings.MONGODB_URI)


@login_required
def page(request: HttpRequest) -> HttpResponse:
    return render(request, "orders.html", {"service": settings.TIDEWIRE_URL})


@login_required
@never_cache
def token(request: HttpRequest) -> HttpResponse:
    """The token of the logged-in user. The rules of the service decide what it allows."""
    return HttpResponse(tokens.sign(request.user.get_username()), content_type="text/plain")


@login_required
@require_POST
def add_order(request: HttpRequest) -> JsonResponse:
    """Writes an order, and returns the time of the write: with it, the page waits until it shows the order."""
    order = {
        "customerId": request.user.get_username(),
        "item": request.POST["item"],
        "status": "open",
        "at": datetime.datetime.now(datetime.timezone.utc),
    }
    with mongo().start_session() as session:
        mongo()[settings.MONGODB_DATABASE].orders.insert_one(order, session=session)
        time = session.operation_time
    return JsonResponse({"operationTime": {"$timestamp": {"t": time.time, "i": time.inc}}})
