"""What Prometheus and Grafana are given: rules, dashboard, and the pages that explain them."""
