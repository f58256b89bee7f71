from django.contrib.auth.views import LoginView
from django.urls import path

from . import views

urlpatterns = [
    path("", views.page),
    path("token", views.token),
    path("orders", views.add_order),
    path("login/", LoginView.as_view()),
]
