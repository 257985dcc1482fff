"""The same training step written in other libraries; these modules run in the peers' environment."""
