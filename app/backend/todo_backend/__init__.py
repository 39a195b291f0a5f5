"""The Todo Chatbot's backend: REST API, chat and MCP server over one table of tasks."""

__version__ = "1.0.0"
