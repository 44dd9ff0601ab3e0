resource "google_compute_router" "this" {
  count = var.nat.enabled ? 1 : 0

  project = var.project_id
  name    = "${var.name}-router"
  region  = var.region
  network = google_compute_network.this.id
}

resource "google_compute_address" "this" {
  count = var.nat.enabled && var.nat.static_ip ? 1 : 0

  project      = var.project_id
  name         = "${var.name}-egress"
  region       = var.region
  address_type = "EXTERNAL"
  description  = "The one address the desk is seen from: a broker or a firewall can pin it."
}

resource "google_compute_router_nat" "this" {
  count = var.nat.enabled ? 1 : 0

  project                            = var.project_id
  name                               = "${var.name}-nat"
  region                             = var.region
  router                             = google_compute_router.this[0].name
  nat_ip_allocate_option             = var.nat.static_ip ? "MANUAL_ONLY" : "AUTO_ONLY"
  nat_ips                            = var.nat.static_ip ? [google_compute_address.this[0].self_link] : null
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = google_compute_subnetwork.this.id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }

  log_config {
    enable = true
    filter = "ERRORS_ONLY"
  }
}
