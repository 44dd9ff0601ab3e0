# Cloud SQL's private address comes from this range, peered to Google's network.
resource "google_compute_global_address" "private_services" {
  count = var.private_services ? 1 : 0

  project       = var.project_id
  name          = "${var.name}-private-services"
  network       = google_compute_network.this.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "private_services" {
  count = var.private_services ? 1 : 0

  network                 = google_compute_network.this.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.private_services[0].name]

  # Google refuses to remove the peering for days after the last database went; the network goes with it. One that
  # is still there, from a destroy that broke off, is given the new range.
  deletion_policy         = "ABANDON"
  update_on_creation_fail = true
}
