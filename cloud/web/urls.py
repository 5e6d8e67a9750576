"""Routes of the pages. Every page but the login asks for a session."""

from django.contrib.auth.views import LoginView, LogoutView
from django.urls import path

from cloud.web import views

urlpatterns = [
    path("login/", LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("", views.batches, name="batches"),
    path("batches/<str:batch>/records/", views.batch_records, name="batch-records"),
    path("batches/<str:batch>/series.json", views.batch_series, name="batch-series"),
    path("batches/<str:batch>/", views.batch_page, name="batch"),
    path("records/<str:kid>/<int:seq>/", views.record_page, name="record"),
    path("quarantine/", views.quarantine, name="quarantine"),
    path("quarantine/<str:digest>/", views.quarantined, name="quarantined"),
    path("units/", views.units, name="units"),
    path("recipes/<str:recipe>/<int:version>/card/", views.recipe_card, name="recipe-card"),
]
