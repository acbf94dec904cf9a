"""The HTTP application: `app.create_app` makes it for any engine. It needs the extra `serve`."""
