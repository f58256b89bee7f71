#!/usr/bin/env python
"""The commands of Django, and `follow_orders`."""

import os
import sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "orders.settings")
execute_from_command_line(sys.argv)
