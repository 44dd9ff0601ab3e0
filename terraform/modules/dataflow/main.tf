# The flex template: what Dataflow needs to start the pipeline's image. The job itself is launched by a DAG
# or by hand, for the resource that would do it is google-beta only.
resource "google_storage_bucket_object" "template" {
  count = var.image == null ? 0 : 1

  bucket       = var.bucket
  name         = "templates/${var.name}.json"
  content_type = "application/json"
  content = jsonencode({
    image              = var.image
    sdkInfo            = { language = "PYTHON" }
    metadata           = { name = var.name, description = var.description, parameters = var.parameters }
    defaultEnvironment = { sdkContainerImage = var.image } # the workers run what the launcher runs
  })
}
