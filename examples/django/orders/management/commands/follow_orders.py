"""Follows the open orders of all customers: the place for e-mails, exports and other work outside of requests."""

import json
from argparse import ArgumentParser

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

import tidewire
import tidewire.sync
from orders import tokens


class Command(BaseCommand):
    help = "Follows the open orders, and prints each change. With --store it continues where it was the last time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--store", help="a folder for the position")

    def handle(self, *_: object, store: str | None, **options: object) -> None:
        # The rule `staff` of the service gives this role all orders.
        client = tidewire.sync.connect(
            settings.TIDEWIRE_URL,
            token=lambda: tokens.sign("follow-orders", roles=["support"]),
            store=None if store is None else tidewire.FileStore(store),
            scope="follow-orders",
        )
        try:
            with client:
                for change in client.query("orders", {"status": "open"}, snapshot=False):
                    self.stdout.write(self.describe(change))
                    self.stdout.flush()
        except tidewire.TidewireError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            pass

    def describe(self, change: tidewire.Change) -> str:
        match change:
            case tidewire.Added(document=order) | tidewire.Changed(document=order):
                return f"open: {json.dumps(order)}"
            case tidewire.Removed(id=order_id):
                return f"no longer open: {order_id}"
            case tidewire.Snapshot(reason=reason):
                return f"changes are missing: {reason}"
