output "egress_address" {
  description = "The reserved address traffic leaves from; null without one."
  value       = one(google_compute_address.this[*].address)
}

output "names" {
  description = "Short names, as Cloud Run takes them; traffic from the subnetwork can leave once NAT stands."
  value = {
    network    = var.name
    subnetwork = "${var.name}-${var.region}"
  }

  depends_on = [google_compute_subnetwork.this, google_compute_router_nat.this]
}

output "network" {
  description = "Full name of the network."
  value       = "projects/${var.project_id}/global/networks/${var.name}"

  depends_on = [google_compute_network.this, google_service_networking_connection.private_services]
}

output "subnetwork" {
  description = "Full name of the subnetwork; traffic from it can leave once NAT stands."
  value       = "projects/${var.project_id}/regions/${var.region}/subnetworks/${var.name}-${var.region}"

  depends_on = [google_compute_subnetwork.this, google_compute_router_nat.this]
}
