output "launch" {
  description = "Command that starts the pipeline; null until its image exists."
  value = var.image == null ? null : join(" ", compact([
    "gcloud dataflow flex-template run ${var.name}",
    "--project=${var.project_id} --region=${var.region}",
    "--template-file-gcs-location=gs://${var.bucket}/templates/${var.name}.json",
    "--service-account-email=${var.service_account}",
    "--temp-location=gs://${var.bucket}/temp --disable-public-ips",
    var.subnetwork == null ? "" : "--subnetwork=https://www.googleapis.com/compute/v1/${var.subnetwork}",
  ]))

  depends_on = [google_storage_bucket_object.template]
}
