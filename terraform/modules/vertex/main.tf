# Terraform makes the places; models are uploaded and deployed by the training job's promotion step.
resource "google_vertex_ai_endpoint" "this" {
  # checkov:skip=CKV2_GCP_33:bots predict through Google's API with IAM; a peered endpoint cannot be reached from Cloud Run without its own network
  for_each = var.endpoints

  project      = var.project_id
  location     = var.region
  region       = var.region
  name         = each.value.number
  display_name = each.key
  description  = each.value.description

  dynamic "encryption_spec" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = encryption_spec.value
    }
  }

  lifecycle {
    # Deploying a model moves it.
    ignore_changes = [traffic_split]
  }
}

resource "google_vertex_ai_tensorboard" "this" {
  count = var.experiments ? 1 : 0

  project      = var.project_id
  region       = var.region
  display_name = "mbats"
  description  = "Mirror of the run summaries in MLflow."

  dynamic "encryption_spec" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = encryption_spec.value
    }
  }
}
